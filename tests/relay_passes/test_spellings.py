"""One layer in every spelling: the same normal form, and the same bits out.

Each network of an exact spec is written in several ways; all must give the (M, N) and the
thresholds of one of them, and the compiled results must be the reference's very floats.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tvm

from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction, steps_of
from abc_tvm.relay_passes.rewrite import bindings, constant, op_name
from tests.generators import (
    LayerSpec,
    layer_input,
    random_spec,
    realize_spec,
    spell,
    spellings_for,
)
from tests.generators.spellings import can_fold
from tests.relay_passes.harness import continue_passes, executable, passes_until

REFERENCE = "dense_weights"
"""One convolution on one sum of bases: nothing to collapse."""

ALL = [seed for seed in range(64) if random_spec(seed).exact]
SINGLE = [seed for seed in ALL if len(random_spec(seed).chain) == 1]
DOUBLE = [seed for seed in ALL if len(random_spec(seed).chain) == 2]
SHORT = [*((seed, 2) for seed in SINGLE[:17]), *((seed, 1) for seed in DOUBLE[:8])]
"""Seeds, and how many spellings of each a short run tries."""


def some(spec: LayerSpec, seed: int, count: int) -> list[str]:
    """Spellings of ``spec`` in turn, so that many seeds reach all of them."""
    names = [name for name in spellings_for(spec) if name != REFERENCE]
    first = 3 * ALL.index(seed)
    return [names[(first + i) % len(names)] for i in range(min(count, len(names)))]


class Form:
    """Normal form of one spelling: ``(M, N)`` of each layer, the steps before, the module."""

    def __init__(self, seed: int, spelling: str) -> None:
        model = spell(random_spec(seed), spelling, seed)
        self.mod, self.context = passes_until(model, "fold_thresholds", device="native")
        self.counts = [(row.M, row.N) for row in self.context.layers.values()]
        defined = dict(bindings(self.mod["main"]))
        self.steps = []
        for call in defined.values():
            if op_name(call) != "abc.bconv2d":
                continue
            source = defined[call.args[0]]
            while op_name(source) == "nn.max_pool2d":
                source = defined[source.args[0]]
            self.steps.append(source)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The compiled network's output."""
        mod = continue_passes(self.mod, self.context, "encode", "legalise")
        return executable(mod, self.context)(x)


def along(steps: StepFunction) -> np.ndarray:
    """``[N + 1, C]`` levels in the order in which a channel passes them, 0 where it never does."""
    levels = np.where(steps.sense > 0, steps.levels[:, None], steps.levels[::-1, None])
    edge = np.full((1, len(steps.sense)), np.inf, np.float32)
    edges = np.concatenate([-edge, steps.thresholds, edge])
    return np.where(edges[1:] > edges[:-1], levels, 0)


def assert_same_steps(found: list[Any], wanted: list[Any], label: str) -> None:
    """Equal integers; float thresholds may differ by the rounding of each spelling's chain.

    One factor may have moved from all levels into the weights.
    """
    assert [op_name(f) for f in found] == [op_name(w) for w in wanted], label
    for f, w in zip(found, wanted, strict=True):
        one, two = along(steps_of(f)), along(steps_of(w))
        at = np.unravel_index(np.abs(two).argmax(), two.shape)
        np.testing.assert_allclose(one * two[at], two * one[at], 1e-6, 1e-6, err_msg=label)
        t, u = steps_of(f).thresholds, steps_of(w).thresholds
        np.testing.assert_allclose(t, u, 1e-5, 1e-5, err_msg=label)
        if op_name(f) == "abc.count_step":
            counts = constant(f.args[1]), constant(w.args[1])
            np.testing.assert_array_equal(*counts, err_msg=label)


@pytest.mark.sweep(
    "seed, count, runs",
    short=[(seed, count, 1) for seed, count in SHORT],
    full=[(seed, 99, 4) for seed in ALL],
)
def test_one_form_and_the_same_bits(seed: int, count: int, runs: int) -> None:
    spec = random_spec(seed)
    tied = all(layer.ties for layer in spec.chain)
    # Scales that one spelling leaves behind a convolution and another puts into its weights turn
    # the next step round where they are negative.
    moved = any(can_fold(a, b) or a.M * a.N == 1 for a, b in pairwise(spec.chain))
    x, wanted = layer_input(spec), realize_spec(spec)[-1].output.astype(np.float32)
    reference = Form(seed, REFERENCE)
    assert all(m is not None and n is not None for m, n in reference.counts)
    for number, spelling in enumerate(some(spec, seed, count)):
        form = Form(seed, spelling)
        if tied:
            assert form.counts == reference.counts, spelling
        else:  # a Sign of an integer has a level at its tie, which these inputs never reach
            assert [m for m, _ in form.counts] == [m for m, _ in reference.counts], spelling
        if tied and not moved:
            assert_same_steps(form.steps, reference.steps, spelling)
        if number < runs:
            np.testing.assert_array_equal(form.run(x), wanted, err_msg=f"{spelling}: {spec}")


def test_every_spelling_is_reached_by_the_short_list() -> None:
    reached = {name for seed, count in SHORT for name in some(random_spec(seed), seed, count)}
    everything = {name for seed, _ in SHORT for name in spellings_for(random_spec(seed))}
    assert reached == everything - {REFERENCE}


def test_the_same_model_gives_the_same_module() -> None:
    spec = random_spec(ALL[0])
    first, second = (
        passes_until(spell(spec, REFERENCE, 0), "fold_thresholds")[0] for _ in range(2)
    )
    tvm.ir.assert_structural_equal(first, second, map_free_vars=True)
