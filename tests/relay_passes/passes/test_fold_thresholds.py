"""Integer thresholds on accumulators, and pooling on bits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.analysis.step_function import steps_of
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


def pooled(between: str = "", after: str = "") -> onnx.ModelProto:
    """Convolution, ``between``, MaxPool, batch normalisation, step, convolution."""
    net = Net((1, 4, 8, 8))
    x = net.conv(net.step("input"), net.signs(6, 4, 3, 3))
    if between == "relu":
        x = net.op("Relu", net.op("Add", x, net.channels(np.arange(-3, 3))))
    elif between == "falling":
        x = net.op("Neg", x)
    elif between == "parabola":
        x = net.op("Abs", x)
    elif between == "float":
        x = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1])
    floats = x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.bn(x, [1, -1, 0.5, -2, 0, 1], [0.25, 0.5, -1, 0, 1, 2], 2.0, 9.0)
    x = net.conv(net.step(x), net.signs(6, 6, 1, 1))
    return net.model(net.op("Add", x, floats) if after == "residual" else x)


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


def test_sums_of_real_factors_stay_float() -> None:
    """Refuses: alphas of no common unit have no integer accumulator."""
    net = Net((1, 4, 6, 6))
    weight = np.tensordot(np.float32([1, 0.613]), net.signs(2, 6, 4, 3, 3), 1)
    x = net.conv(net.step("input"), weight)
    model = net.model(net.conv(net.step(x, 0.1), net.signs(6, 6, 1, 1)))
    mod, _ = passes_until(model, "fold_thresholds")
    assert len(calls(mod, "abc.step")) == 2 and not calls(mod, "abc.count_step")


@pytest.mark.parametrize("between", ["", "relu", "falling"])
def test_pooling_moves_behind_the_step(between: str) -> None:
    """Fires: the pool reads counts of passed thresholds; three steps in place of two."""
    mod, _ = passes_until(pooled(between), "fold_thresholds")
    (pool,) = calls(mod, "nn.max_pool2d")
    steps = [*calls(mod, "abc.step"), *calls(mod, "abc.count_step")]
    assert len(steps) == 3
    first = next(s for s in calls(mod, "abc.count_step"))
    assert list(steps_of(first).levels) == [0, 1], "the pool reads 0 and 1"
    assert pool.args[0].ty == first.args[0].ty


@pytest.mark.parametrize(("between", "after"), [("", "residual"), ("parabola", ""), ("float", "")])
def test_pooling_stays(between: str, after: str) -> None:
    """Refused, or folded as far as it goes; in no case do bits change."""
    mod, _ = passes_until(pooled(between, after), "fold_thresholds")
    assert len(calls(mod, "nn.max_pool2d")) == 1
    if after == "residual":
        assert len(calls(mod, "abc.step")) == 2
    assert_same_bits(pooled(between, after))


def test_golden_counts() -> None:
    check_golden("fold_thresholds_counts", passes_until(two_layers(), "fold_thresholds")[0])


def test_golden_pool() -> None:
    check_golden("fold_thresholds_pool", passes_until(pooled("relu"), "fold_thresholds")[0])


@pytest.mark.parametrize("between", ["", "relu", "falling"])
def test_numbers_pool(between: str) -> None:
    assert_same_bits(pooled(between))


@pytest.mark.parametrize("alpha", [0.3, 0.01])
def test_numbers_of_real_scales(alpha: float) -> None:
    """onnxruntime adds rounded products, so only the bits away from ties can agree: all do."""
    assert_same_bits(two_layers(alpha=alpha))


@pytest.mark.parametrize("between", ["relu", "falling"])
def test_again_changes_nothing(between: str) -> None:
    once, _ = passes_until(pooled(between), "fold_thresholds")
    assert_equal_ir(FoldThresholds()(once), once)
