"""One layer in every spelling: the same normal form, and the same bits out.

Each network of an exact spec is written in several ways; all must give the (M, N) and the
thresholds of one of them, and the compiled results must be the reference's very floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm

from abc_tvm.relay_passes.fold_thresholds import steps_of
from abc_tvm.relay_passes.pointwise import TABLE
from abc_tvm.relay_passes.rewrite import bindings, constant, op_name
from abc_tvm.relay_passes.step_function import StepFunction
from tests.generators import (
    LayerSpec,
    layer_input,
    random_spec,
    realize_spec,
    spell,
    spellings_for,
)
from tests.relay_passes.harness import compiled, passes_until

REFERENCE = "dense_weights"
"""One convolution on one sum of bases: nothing to collapse."""

EXACT = [seed for seed in range(110) if random_spec(seed).exact]
TIED = [seed for seed in EXACT if all(layer.ties for layer in random_spec(seed).chain)]


def some(spec: LayerSpec, seed: int, count: int) -> list[str]:
    """Spellings of ``spec`` in turn, so that many seeds reach all of them."""
    names = [name for name in spellings_for(spec) if name != REFERENCE]
    first = 5 * seed
    return [names[(first + i) % len(names)] for i in range(min(count, len(names)))]


def normal_form(seed: int, spelling: str) -> tuple[list[tuple[int | None, ...]], list[Any]]:
    """``(M, N)`` of every layer, and the step function in front of each."""
    model = spell(random_spec(seed), spelling, seed)
    mod, context = passes_until(model, "fold_thresholds")
    counts = [(row.M, row.N) for row in context.layers.values()]
    defined = dict(bindings(mod["main"]))
    steps = []
    for call in defined.values():
        if op_name(call) != "abc.bconv2d":
            continue
        source = defined[call.args[0]]
        while op_name(source) == "nn.max_pool2d" or op_name(source) in TABLE:
            source = defined[source.args[0]]
        steps.append(source)
    return counts, steps


def along(steps: StepFunction) -> np.ndarray:
    """``[N + 1, C]`` levels in the order in which a channel passes them."""
    return np.where(steps.sense > 0, steps.levels[:, None], steps.levels[::-1, None])


def assert_same_steps(found: list[Any], wanted: list[Any], label: str) -> None:
    """Equal integers; float thresholds may differ by the rounding of each spelling's chain.

    One factor may have moved from all levels into the weights.
    """
    assert [op_name(f) for f in found] == [op_name(w) for w in wanted], label
    for f, w in zip(found, wanted, strict=True):
        one, two = along(steps_of(f)), along(steps_of(w))
        at = np.abs(two[:, 0]).argmax()
        np.testing.assert_allclose(one * two[at, 0], two * one[at, 0], 1e-6, 1e-6, err_msg=label)
        t, u = steps_of(f).thresholds, steps_of(w).thresholds
        np.testing.assert_allclose(t, u, 1e-5, 1e-5, err_msg=label)
        if op_name(f) == "abc.count_step":
            counts = constant(f.args[1]), constant(w.args[1])
            np.testing.assert_array_equal(*counts, err_msg=label)


@pytest.mark.sweep("seed, count", short=[(s, 3) for s in EXACT[:25]], full=[(s, 99) for s in EXACT])
def test_same_form(seed: int, count: int) -> None:
    spec = random_spec(seed)
    counts, steps = normal_form(seed, REFERENCE)
    assert all(m is not None and n is not None for m, n in counts)
    for spelling in some(spec, seed, count):
        found, other = normal_form(seed, spelling)
        assert found == counts, spelling
        if seed in TIED:
            assert_same_steps(other, steps, spelling)


@pytest.mark.sweep("seed, count", short=[(s, 1) for s in EXACT[:25]], full=[(s, 99) for s in EXACT])
def test_same_bits(seed: int, count: int) -> None:
    spec = random_spec(seed)
    x, wanted = layer_input(spec), realize_spec(spec)[-1].output.astype(np.float32)
    for spelling in some(spec, seed, count):
        run, _ = compiled(spell(spec, spelling, seed))
        np.testing.assert_array_equal(run(x), wanted, err_msg=f"{spelling}: {spec}")


def test_every_spelling_is_reached_by_the_short_list() -> None:
    reached = {name for seed in EXACT[:25] for name in some(random_spec(seed), seed, 3)}
    everything = {name for seed in EXACT[:25] for name in spellings_for(random_spec(seed))}
    assert reached == everything - {REFERENCE}


def test_the_same_model_gives_the_same_module() -> None:
    spec = random_spec(EXACT[0])
    first, second = (
        passes_until(spell(spec, REFERENCE, 0), "fold_thresholds")[0] for _ in range(2)
    )
    tvm.ir.assert_structural_equal(first, second, map_free_vars=True)
