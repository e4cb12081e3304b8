"""Packed bits between steps and convolutions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest

from abc_tvm import targets
from abc_tvm.frontend import import_onnx
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.passes.encode import Encode
from abc_tvm.targets.device import Cost
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    continue_passes,
    passes_until,
    two_layers,
)


def levels(count: int, groups: int = 1) -> onnx.ModelProto:
    """A k-level activation in front of one convolution."""
    net = Net((1, 8, 6, 6))
    x = net.op("Clip", "input", net.constant(0.0), net.constant(1.0))
    x = net.op("Round", net.op("Mul", x, net.constant(float(count))))
    return net.model(net.conv(x, net.signs(6, 8 // groups, 3, 3), 1, group=groups))


def pooled_levels(gamma: list[float]) -> onnx.ModelProto:
    """Convolution, MaxPool, batch normalisation of either sign, four levels, convolution."""
    net = Net((1, 4, 9, 9))
    x = net.conv(net.step("input"), net.signs(6, 4, 3, 3))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = net.bn(x, gamma, 0.5, 2.0, 100.0)
    x = net.op("Clip", x, net.constant(0.0), net.constant(1.0))
    x = net.op("Round", net.op("Mul", x, net.constant(3.0)))
    return net.model(net.conv(x, net.signs(6, 6, 2, 2)))


def shared() -> onnx.ModelProto:
    """Two convolutions of the same bits, of two groupings; and a float reader of the levels."""
    net = Net((1, 4, 5, 5))
    x = net.step("input")
    one = net.conv(x, net.signs(4, 4, 3, 3), 1)
    two = net.conv(x, net.signs(4, 4, 1, 1))
    three = net.conv(x, net.signs(4, 2, 1, 1), group=2)
    return net.model(net.op("Sum", one, two, three, x))


MIXED = [1, -1, 2, -2, 0.5, 1]


def test_fires_once_a_convolution() -> None:
    mod, _ = passes_until(two_layers(), "encode")
    assert len(calls(mod, "abc.bitserial_conv2d")) == 2 == len(calls(mod, "abc.encode_bitserial"))
    for gone in ("abc.step", "abc.count_step", "abc.bconv2d"):
        assert not calls(mod, gone)


@pytest.mark.parametrize(
    ("count", "code", "planes"),
    [
        (1, "thermometer", 1),
        (2, "thermometer", 2),
        (3, "binary", 2),
        (7, "binary", 3),
        (15, "binary", 4),
    ],
)
def test_code_of_the_levels(count: int, code: str, planes: int) -> None:
    mod, _ = passes_until(levels(count), "encode")
    (call,) = calls(mod, "abc.encode_bitserial")
    assert (str(call.attrs["code"]), int(call.attrs["planes"])) == (code, planes)
    (conv,) = calls(mod, "abc.bitserial_conv2d")
    weights = [float(w) for w in conv.attrs["weights"]]
    # Levels 0 .. count, scaled by a power of two to a largest one in [1, 2).
    scale = 2.0 ** (count.bit_length() - 1)
    assert float(conv.attrs["base"]) == 0
    assert sum(weights) * scale == count
    ratio = 2 if code == "binary" else 1
    assert all(b == ratio * a for a, b in pairwise(weights))


def test_bits_are_shared_by_convolutions_of_one_grouping() -> None:
    mod, _ = passes_until(shared(), "encode")
    groupings = sorted(int(c.attrs["layout_groups"]) for c in calls(mod, "abc.encode_bitserial"))
    assert groupings == [1, 2]
    assert len(calls(mod, "where")) == 1, "the float reader keeps the graph's own chain"


@pytest.mark.parametrize("gamma", [[1.0] * 6, [-1.0] * 6, MIXED])
def test_pooling_by_or(gamma: list[float]) -> None:
    mod, _ = passes_until(pooled_levels(gamma), "encode")
    (pool,) = calls(mod, "abc.pool_bitserial")
    assert str(pool.attrs["code"]) == "binary" and int(pool.attrs["planes"]) == 2
    assert not calls(mod, "nn.max_pool2d")


def test_golden() -> None:
    check_golden("encode_pool", passes_until(pooled_levels(MIXED), "encode")[0])
    check_golden("encode_shared", passes_until(shared(), "encode")[0])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_numbers_of_levels(count: int) -> None:
    x = np.random.default_rng(0).integers(-4, 3 * count, (1, 8, 6, 6)) / np.float32(2 * count)
    assert_same_bits(levels(count, groups=2), x=x.astype(np.float32))


@pytest.mark.parametrize("gamma", [[1.0] * 6, MIXED])
def test_numbers_of_pools(gamma: list[float]) -> None:
    assert_same_bits(pooled_levels(gamma))


def test_numbers_of_shared_bits() -> None:
    assert_same_bits(shared())


def test_again_changes_nothing() -> None:
    once, context = passes_until(pooled_levels(MIXED), "encode")
    assert_equal_ir(Encode(context)(once), once)


# ---- bytes ----------------------------------------------------------------------------


@pytest.fixture
def dots() -> None:
    if targets.load("native").cost.dot is None:
        pytest.skip("this machine has no dot products of bytes (AVX-512 VNNI)")


@pytest.mark.parametrize(
    ("model", "pools"),
    [(levels(5), 0), (levels(3, 2), 0), (pooled_levels(MIXED), 1), (pooled_levels([1] * 6), 1)],
    ids=["levels", "groups", "pooled", "pooled, rising"],
)
@pytest.mark.usefixtures("dots")
def test_bytes(model: onnx.ModelProto, pools: int) -> None:
    """As many encodings and poolings as on bits, and the very bits of onnxruntime."""
    mod, context = passes_until(model, "encode", "int8")
    assert {row.lowering for row in context.layers.values()} == {"int8"}
    assert len(calls(mod, "abc.pool_int8")) == pools
    assert len(calls(mod, "abc.encode_int8")) == len(calls(mod, "abc.int8_conv2d"))
    assert_equal_ir(Encode(context)(mod), mod)
    assert_same_bits(model, "int8")


@pytest.mark.usefixtures("dots")
def test_pooling_codes_of_a_step_that_max_pool_follows() -> None:
    """Levels are pooled as they are: codes rise with them. Padding is below every code."""
    net = Net((1, 8, 6, 6))
    x = net.op("Clip", "input", net.constant(-1.0), net.constant(1.0))
    x = net.op("Round", net.op("Mul", x, net.constant(2.0)))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    model = net.model(net.conv(x, net.signs(6, 8, 3, 3), 1))
    mod, _ = passes_until(model, "encode", "int8")
    assert len(calls(mod, "abc.pool_int8")) == 1
    assert_same_bits(model, "int8")


def test_golden_bytes() -> None:
    mod, _ = passes_until(pooled_levels(MIXED), "encode", "int8")
    check_golden("encode_int8", mod)


@pytest.mark.usefixtures("dots")
def test_bits_and_bytes_of_one_step() -> None:
    """The chooser may give two readers of a step different forms: both encodings are there."""
    net = Net((1, 64, 5, 5))
    x = net.step("input")
    three = net.signs(64, 64, 3, 3) + 2 * net.signs(64, 64, 3, 3) + 4 * net.signs(64, 64, 3, 3)
    one = net.conv(x, three + 8 * net.signs(64, 64, 3, 3), 1)
    two = net.conv(x, net.signs(64, 64, 3, 3), 1)
    model = net.model(net.op("Add", one, two))
    context = Context(replace(targets.load("zen4"), cost=Cost(pair=0.1, dot=0.25)))
    mod = continue_passes(import_onnx(model), context, "canonicalise", "encode")
    assert len(calls(mod, "abc.encode_bitserial")) == len(calls(mod, "abc.encode_int8")) == 1
    assert sorted(row.lowering for row in context.layers.values()) == ["bitserial", "int8"]
