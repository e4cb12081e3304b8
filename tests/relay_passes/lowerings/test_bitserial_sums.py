"""Counts of bits that differ, as float values and as comparisons with integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from abc_tvm.compute.lanes import Blocking
from abc_tvm.relay_passes.analysis.weights.accumulator import accumulator
from abc_tvm.relay_passes.lowerings.bitserial import BITSERIAL
from abc_tvm.relay_passes.lowerings.bitserial_sums import NEVER
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.kernel_runs import run
from tests.relay_passes.lowerings.layer_cases import layer_case
from tests.schedules.window_cases import bits_of

PAD = [1, 0, 1, 2]

EXACT: dict[str, dict[str, Any]] = {
    "one pair": {"at": (0.0,), "levels": (-1, 1)},
    "one pair, padded": {"at": (0.0,), "levels": (-1, 1), "padding": PAD},
    "one pair of a step of 3": {"at": (0.0,), "levels": (0, 3), "padding": PAD},
    "two planes, padded with a base": {"levels": (-1, 0, 2), "padding": PAD},
    "two bases": {"alpha": (2.0, 1.0), "levels": (0, 1, 3), "padding": PAD},
    "proportions of channels": {"alpha": [[1, 3, 1, 1, 0.5], [0.5, 1, 0, 0.25, 1]]},
    "groups": {"groups": 3, "at": (0.0,), "levels": (-1, 1), "padding": PAD, "outs": 6},
}


@pytest.mark.parametrize("name", EXACT)
def test_comparisons_are_those_of_the_integer(name: str) -> None:
    """``D >= T`` for every ``T`` that ``D`` can meet, and beyond; of 5 outputs at once."""
    shape = {"channels": 6, "outs": 5} | EXACT[name]
    case = layer_case(**shape)
    layer, outs = case.candidate, shape["outs"]
    exact = accumulator(layer.planes, layer.alpha, layer.steps.levels, any(layer.window.padding))
    assert exact is not None
    integer = np.rint(case.wanted / np.where(exact.scale == 0, 1, exact.scale)).astype(np.int64)
    np.testing.assert_array_equal(integer * exact.scale, case.wanted)
    rng = np.random.default_rng(0)
    near = np.sort([rng.choice(integer[..., c].ravel(), 3) for c in range(outs)], axis=1).T
    far = np.full((1, outs), 2 * int(exact.bound.max()) + 7)
    thresholds = np.concatenate([-far, near, near[-1:] + 1, far]).astype(np.int32)
    anchor, emitter = case.encoded(BITSERIAL)
    senses = np.ones(outs, np.int8)
    data = anchor.args[0]

    def body(bind: Any) -> relax.Expr:
        conv = bind(anchor, "conv")
        args = [conv, const(thresholds), const(senses), const(thresholds.astype(np.float32))]
        facts = {"planes": len(thresholds), "layout_groups": layer.window.groups, "count": 1}
        call = make("encode_bitserial", args, code="thermometer", **facts)
        return relax.Tuple([bind(call, "bits"), conv])

    words, values = run([data], [emitter.arrays[data]], body)
    np.testing.assert_array_equal(values, case.wanted)
    for p, threshold in enumerate(thresholds):
        found = bits_of(words[:, :, :, p], Blocking(outs, layer.window.groups))
        np.testing.assert_array_equal(found, integer >= threshold, str(threshold))


def test_limits_that_are_always_or_never_kept_stay_in_32_bits() -> None:
    """``T`` at the ends of int32: the constant that is taken off would turn its sign."""
    case = layer_case(6, 5, at=(0.0,), levels=(0, 3), padding=PAD)
    anchor, emitter = case.encoded(BITSERIAL)
    ends = np.int32([[-(2**31)], [-NEVER], [NEVER], [2**31 - 1]]).repeat(5, 1)
    args = [const(ends), const(np.ones(5, np.int8)), const(ends.astype(np.float32))]
    facts = {"code": "thermometer", "planes": 4, "layout_groups": 1, "count": 1}
    data = anchor.args[0]
    (words,) = run(
        [data],
        [emitter.arrays[data]],
        lambda bind: bind(make("encode_bitserial", [bind(anchor), *args], **facts)),
    )
    assert np.all(words[:, :, :, :2] == 31) and np.all(words[:, :, :, 2:] == 0)


@pytest.mark.parametrize("padding", [[0, 0, 0, 0], PAD])
@pytest.mark.parametrize("levels", [(0, 1.37), (-1.1, 0.3, 1.9)])
@pytest.mark.parametrize("shared", [True, False])
def test_sums_that_are_no_integers(
    shared: bool, levels: tuple[float, ...], padding: list[int]
) -> None:
    """Floats of counts from the middle, with a constant for each place at the border."""
    alpha = np.float32([[0.618034], [0.267949]])
    if not shared:
        alpha = alpha * np.float32([1, 0.7, -1.3, 2.1, 0])
    at = (-0.5, 0.5)[: len(levels) - 1]
    case = layer_case(33, 5, at=at, levels=levels, alpha=alpha, padding=padding)
    layer = case.candidate
    assert accumulator(layer.planes, layer.alpha, layer.steps.levels, any(padding)) is None
    most = np.abs(case.weight).reshape(5, -1).sum(1) * max(map(abs, levels))
    assert np.all(np.abs(case.result(BITSERIAL) - case.wanted) <= 2e-6 * most)
