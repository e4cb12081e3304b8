"""Pooling on bits: the pool moves behind the step, and counts thresholds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.passes.fold_pools import FoldPools
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
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


def test_counts_turn_round_where_a_scale_is_negative() -> None:
    """The step behind the pool compares counts with a half, in the sense that the step had."""
    mod, _ = passes_until(pooled("falling"), "fold_pools")
    (pool,) = calls(mod, "nn.max_pool2d")
    count, behind = calls(mod, "abc.step")[-2:]
    assert pool.args[0].name == "count" and behind.args[0].name == "pooled"
    assert set(steps_of(behind).thresholds.ravel()) == {0.5}
    assert set(steps_of(behind).sense) == {1, -1} and -1 in steps_of(count).sense


def test_golden_pool() -> None:
    check_golden("fold_pools", passes_until(pooled("relu"), "fold_pools")[0])


@pytest.mark.parametrize("between", ["", "relu", "falling"])
def test_numbers_pool(between: str) -> None:
    assert_same_bits(pooled(between))


@pytest.mark.parametrize("between", ["relu", "falling"])
def test_again_changes_nothing(between: str) -> None:
    once, _ = passes_until(pooled(between), "fold_pools")
    assert_equal_ir(FoldPools()(once), once)
