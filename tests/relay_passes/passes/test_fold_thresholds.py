"""Integer thresholds on accumulators."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.passes.fold_thresholds import FoldThresholds
from abc_tvm.relay_passes.rewrite import constant
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
    two_layers,
)


def test_counts_are_compared_with_integers() -> None:
    mod, _ = passes_until(two_layers(alpha=0.3), "fold_thresholds")
    assert len(calls(mod, "abc.count_step")) == 1
    assert len(calls(mod, "abc.step")) == 1, "the network's input is no accumulator"
    (call,) = calls(mod, "abc.count_step")
    whole = constant(call.args[1])
    assert whole is not None and whole.dtype == np.int32


@pytest.mark.parametrize("alpha", [1.0, 0.3, 0.01])
def test_every_accumulator_gives_the_graphs_bit(alpha: float) -> None:
    """E2: the float32 chain, D * alpha * scale + shift, at all D from -36 to 36."""
    mod, _ = passes_until(two_layers(alpha=alpha), "fold_thresholds")
    (call,) = calls(mod, "abc.count_step")
    whole = constant(call.args[1])
    assert whole is not None
    count = np.arange(-36, 37, 2)[:, None]
    value = count.astype(np.float32) * np.float32(alpha)
    gamma = np.float32([1, -1, 0.5, 2, -0.5, 1, 1, 3])
    scale = (1 / np.sqrt(np.float32(4) + np.float32(1e-5))).astype(np.float32) * gamma
    shift = np.float32(0.3) - np.float32(1) * scale
    wanted = np.where(value * scale + shift >= 0, 1, -1)
    found = (count >= whole[0]) * 2 - 1
    steps = steps_of(call)
    assert list(steps.levels) == [-1, 1]
    np.testing.assert_array_equal(found * steps.sense, wanted)


@pytest.mark.parametrize("moved", ["shuffle", "one axis"])
def test_sums_of_moved_levels_are_integers(moved: str) -> None:
    """A sign of whole sums, whose ties are met all the time, behind a step that was moved."""
    net = Net((2, 4, 6, 6) if moved == "shuffle" else (2, 4, 9))
    x = net.step("input")
    if moved == "shuffle":
        x = net.op("Gather", x, net.ints(2, 0, 3, 1), axis=1)
    kernel = [1] * (len(net.shape) - 2)
    first = net.op("Conv", x, net.constant(net.signs(8, 4, *kernel)))
    shift = net.constant(np.float32([-2, 0, 2, 4, -4, 1, 0, 2]).reshape(8, *kernel))
    sign = net.op("Sign", net.op("Add", first, shift))
    made = net.model(net.op("Conv", sign, net.constant(net.signs(3, 8, *kernel))))
    mod, _ = passes_until(made, "fold_thresholds")
    assert len(calls(mod, "abc.count_step")) == 1 and len(calls(mod, "abc.move")) == 1
    assert_same_bits(made)


def test_sums_of_real_factors_stay_float() -> None:
    """Refuses: alphas of no common unit have no integer accumulator."""
    net = Net((1, 4, 6, 6))
    weight = np.tensordot(np.float32([1, 0.613]), net.signs(2, 6, 4, 3, 3), 1)
    x = net.conv(net.step("input"), weight)
    model = net.model(net.conv(net.step(x, 0.1), net.signs(6, 6, 1, 1)))
    mod, _ = passes_until(model, "fold_thresholds")
    assert len(calls(mod, "abc.step")) == 2 and not calls(mod, "abc.count_step")


def test_golden_counts() -> None:
    check_golden("fold_thresholds_counts", passes_until(two_layers(), "fold_thresholds")[0])


@pytest.mark.parametrize("alpha", [0.3, 0.01])
def test_numbers_of_real_scales(alpha: float) -> None:
    """onnxruntime adds rounded products, so only the bits away from ties can agree: all do."""
    assert_same_bits(two_layers(alpha=alpha))


@pytest.mark.parametrize("pool", [False, True])
def test_again_changes_nothing(pool: bool) -> None:
    once, _ = passes_until(two_layers(pool=pool), "fold_thresholds")
    assert_equal_ir(FoldThresholds()(once), once)
