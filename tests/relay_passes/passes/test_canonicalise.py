"""Canonical form: NHWC, dense layers as convolutions, no Transposes left inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from tests.relay_passes.harness import (
    Net,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
    two_layers,
)


def nhwc_island() -> onnx.ModelProto:
    """Sign and bias in NHWC between NCHW convolutions, as tf2onnx writes them."""
    net = Net((1, 4, 5, 5))
    x = net.op("Transpose", "input", perm=[0, 2, 3, 1])
    x = net.step(net.op("Add", x, net.constant(np.arange(4) / 4)))
    x = net.conv(net.op("Transpose", x, perm=[0, 3, 1, 2]), net.signs(6, 4, 3, 3))
    x = net.op("Add", net.op("Transpose", x, perm=[0, 2, 3, 1]), net.constant(np.arange(6)))
    return net.model(net.op("Transpose", x, perm=[0, 3, 1, 2]))


def flatten_dense(through: str) -> onnx.ModelProto:
    """Convolution, step, flattening in one of several ways, dense layer."""
    net = Net((2, 3, 4, 4))
    x = net.step(net.conv(net.step("input"), net.signs(5, 3, 2, 2)))
    if through == "Flatten":
        x = net.op("Flatten", x, axis=1)
    else:
        x = net.op("Reshape", x, net.ints(2, 45))
    return net.model(net.op("Gemm", x, net.constant(net.signs(7, 45)), transB=1))


def stacked() -> onnx.ModelProto:
    """Two bases on a new axis, weighted and summed over it."""
    net = Net((1, 4, 5, 5))
    wide = net.op("Unsqueeze", "input", net.ints(0))
    shifts = net.constant(np.float32([0.25, -0.5]).reshape(2, 1, 1, 1, 1))
    bits = net.op("GreaterOrEqual", net.op("Add", wide, shifts), net.constant(0.0))
    ones = net.op(
        "Sub", net.op("Mul", net.op("Cast", bits, to=1), net.constant(2.0)), net.constant(1.0)
    )
    beta = net.constant(np.float32([0.5, 0.25]).reshape(2, 1, 1, 1, 1))
    total = net.op("ReduceSum", net.op("Mul", ones, beta), net.ints(0), keepdims=0)
    return net.model(net.conv(total, net.signs(6, 4, 3, 3), 1))


def pad_node() -> onnx.ModelProto:
    net = Net((1, 4, 5, 5))
    x = net.op("Pad", net.step("input"), net.ints(0, 0, 1, 2, 0, 0, 2, 1), net.constant(0.0))
    return net.model(net.conv(x, net.signs(6, 4, 3, 3)))


def pad_of_ones() -> onnx.ModelProto:
    net = Net((1, 4, 5, 5))
    x = net.op("Pad", net.step("input"), net.ints(0, 0, 1, 1, 0, 0, 1, 1), net.constant(-1.0))
    return net.model(net.conv(x, net.signs(6, 4, 3, 3)))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "two_layers": two_layers,
    "nhwc_island": nhwc_island,
    "flatten": lambda: flatten_dense("Flatten"),
    "reshape": lambda: flatten_dense("Reshape"),
    "stacked": stacked,
    "pad_node": pad_node,
    "pad_of_ones": pad_of_ones,
}


@pytest.mark.parametrize("name", [n for n in MODELS if n != "pad_of_ones"])
def test_only_the_ends_are_transposed(name: str) -> None:
    """Fires: one Transpose in, one out, and no other operator that moves data."""
    mod, _ = passes_until(MODELS[name](), "canonicalise")
    assert len(calls(mod, "permute_dims")) <= 2
    for moved in ("nn.pad", "expand_dims", "concat", "squeeze", "nn.batch_norm", "matmul"):
        assert not calls(mod, moved), moved
    for conv in calls(mod, "nn.conv2d"):
        assert (conv.attrs.data_layout, conv.attrs.kernel_layout) == ("NHWC", "OHWI")


def test_zero_padding_moves_into_the_convolution() -> None:
    mod, _ = passes_until(pad_node(), "canonicalise")
    (conv,) = calls(mod, "nn.conv2d")
    assert [int(p) for p in conv.attrs.padding] == [1, 2, 2, 1]


def test_other_padding_stays() -> None:
    """Refuses: padding with -1 is no zero padding, so the convolution reads a larger image."""
    mod, _ = passes_until(pad_of_ones(), "canonicalise")
    (conv,) = calls(mod, "nn.conv2d")
    assert not any(int(p) for p in conv.attrs.padding)
    assert [int(d) for d in conv.args[0].ty.shape] == [1, 7, 7, 4]


@pytest.mark.parametrize("name", ["two_layers", "nhwc_island", "flatten", "stacked"])
def test_golden(name: str) -> None:
    check_golden(f"canonicalise_{name}", passes_until(MODELS[name](), "canonicalise")[0])


@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("two_layers", "reshape")])
def test_numbers(name: str) -> None:
    assert_same_bits(MODELS[name]())


@pytest.mark.parametrize("name", MODELS)
def test_again_changes_nothing(name: str) -> None:
    once, _ = passes_until(MODELS[name](), "canonicalise")
    assert Canonicalise()(once) is once
