"""Pools and means over the image in NHWC."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until

Build = Callable[[Net, str], str]

POOLS: dict[str, tuple[Build, str]] = {
    "max": (
        lambda n, x: n.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
        "nn.max_pool2d",
    ),
    "max, dilated": (
        lambda n, x: n.op("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2]),
        "nn.max_pool2d",
    ),
    "average": (
        lambda n, x: n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]),
        "nn.avg_pool2d",
    ),
    "average, padding counts": (
        lambda n, x: n.op(
            "AveragePool", x, kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
        ),
        "nn.avg_pool2d",
    ),
    "global": (lambda n, x: n.op("GlobalAveragePool", x), "mean"),
    "mean": (lambda n, x: n.op("ReduceMean", x, axes=[2, 3], keepdims=1), "mean"),
    "mean, negative axes": (lambda n, x: n.op("ReduceMean", x, axes=[-1, -2], keepdims=1), "mean"),
    "mean, no image": (lambda n, x: n.op("ReduceMean", x, axes=[2, 3], keepdims=0), "mean"),
}
OTHERS: dict[str, Build] = {
    "over rows": lambda n, x: n.op("ReduceMean", x, axes=[2], keepdims=1),
    "over channels": lambda n, x: n.op("ReduceMean", x, axes=[1], keepdims=1),
    "a sum": lambda n, x: n.op("ReduceSum", x, n.ints(2, 3), keepdims=1),
}


def model_of(build: Build) -> onnx.ModelProto:
    """Between convolutions, on multiples of 1/64: no order of summation rounds."""
    net = Net((2, 4, 8, 8))
    return net.model(build(net, net.conv("input", net.signs(4, 4, 1, 1))))


@pytest.mark.parametrize("name", POOLS)
def test_fires(name: str) -> None:
    build, operator = POOLS[name]
    mod, _ = passes_until(model_of(build), "canonicalise")
    (call,) = calls(mod, operator)
    if operator == "mean":
        assert [int(a) for a in call.attrs.axis] == [1, 2]
    else:
        assert str(call.attrs.layout) == "NHWC"
    assert len(calls(mod, "permute_dims")) <= 2


@pytest.mark.parametrize("name", OTHERS)
def test_refuses(name: str) -> None:
    mod, _ = passes_until(model_of(OTHERS[name]), "canonicalise")
    (call,) = [*calls(mod, "mean"), *calls(mod, "sum")]
    assert len(call.args[0].ty.shape) == 4
    assert [int(a) % 4 for a in call.attrs.axis] in ([2], [1], [2, 3]), "as the graph has them"


@pytest.mark.parametrize("name", [*POOLS, *OTHERS])
def test_numbers(name: str) -> None:
    builds = {**{key: build for key, (build, _) in POOLS.items()}, **OTHERS}
    assert_same_bits(model_of(builds[name]), "float")
