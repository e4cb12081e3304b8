"""Ties in networks, against onnxruntime; and where no atom lies, no plane is paid for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.relay_passes.harness import Net, assert_same_bits, passes_until

IMAGE = (2, 8, 6, 6)
Chain = Callable[[Net, str], str]


def sums_of_signs(net: Net, x: str, pad: int = 1) -> str:
    """An integer sum that reaches 0 often."""
    return net.conv(net.op("Sign", x), net.signs(8, 8, 3, 3), pad)


def pooled(net: Net, x: str) -> str:
    return net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def shuffled(net: Net, x: str) -> str:
    x = net.op("Reshape", x, net.ints(2, 2, 4, 6, 6))
    x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    return net.op("Reshape", x, net.ints(*IMAGE))


def resized(net: Net, x: str) -> str:
    scales = net.constant(np.float32([1, 1, 2, 2]))
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.op("Resize", x, "", scales, mode="nearest", **options)


def padded(net: Net, x: str) -> str:
    return net.op("Pad", x, net.ints(0, 0, 1, 1, 0, 0, 1, 1), net.constant(0.0))


def twice(net: Net, x: str) -> str:
    """Nothing, by an operator that reads one tensor twice."""
    return net.op("Neg", net.op("Sub", x, x))


def slope(net: Net) -> str:
    return net.channels([0.25] * 8)


TIES: dict[str, Chain] = {
    "maxpool": lambda net, x: pooled(net, sums_of_signs(net, x)),
    "concat": lambda net, x: net.op(
        "Slice",
        net.op("Concat", sums_of_signs(net, x), net.bn(x, [1.5] * 8, 0.3), axis=1),
        *(net.ints(v) for v in (4, 12, 1)),
    ),
    "add": lambda net, x: net.op("Add", sums_of_signs(net, x), sums_of_signs(net, x)),
    "shuffle": lambda net, x: shuffled(net, sums_of_signs(net, x)),
    "average": lambda net, x: net.op("GlobalAveragePool", sums_of_signs(net, x)),
    "resize": lambda net, x: resized(net, sums_of_signs(net, x)),
    "pad": lambda net, x: padded(net, net.bn(x, [0.3] * 8, 0.7)),
    "relu": lambda net, x: net.op("Relu", net.op("Add", x, net.constant(-0.3))),
    "relu and pool": lambda net, x: pooled(net, net.op("Relu", sums_of_signs(net, x))),
    "round": lambda net, x: net.op("Round", net.op("Mul", x, net.constant(0.3))),
    "input and pool": pooled,
    "input and short weights": lambda net, x: net.conv(x, net.signs(8, 8, 3, 3)),
    "difference of itself": lambda net, x: net.op("Sub", x, x),
    "twice in a chain": lambda net, x: net.op("Add", x, twice(net, net.op("PRelu", x, slope(net)))),
    "leaky": lambda net, x: net.op("LeakyRelu", pooled(net, x), alpha=0.25),
}


@pytest.mark.parametrize("name", TIES)
def test_ties_are_onnx_own(name: str) -> None:
    net = Net(IMAGE)
    x = net.op("Sign", TIES[name](net, "input"))
    model = net.model(net.conv(x, net.signs(4, 8, 1, 1)))
    context = assert_same_bits(model)
    assert list(context.layers.values())[-1].lowering == "bitserial"


FREE: dict[str, Chain] = {
    "float convolution": lambda net, x: net.bn(float_conv(net, x), [0.7] * 8, 0.3, 0.1),
    "pooled": lambda net, x: pooled(net, net.bn(float_conv(net, x), [0.7] * 8, 0.3, 0.1)),
    "integer sum behind a trained normalisation": lambda net, x: pooled(
        net, net.bn(sums_of_signs(net, x), [0.731, -1.3] * 4, 0.3171, 1.37, 4.1)
    ),
    "a sum of two such": lambda net, x: net.op(
        "Add",
        net.bn(sums_of_signs(net, x), [0.731] * 8, 0.3171, 1.37, 4.1),
        net.op("Relu", net.bn(float_conv(net, x, 1), [0.7] * 8, 0.3, 0.1)),
    ),
}


def float_conv(net: Net, x: str, pad: int = 0) -> str:
    weight = net.rng.normal(size=(8, 8, 3, 3)).astype(np.float32)
    return net.conv(x, weight, pad)


@pytest.mark.parametrize("name", FREE)
def test_no_plane_is_paid_for_an_accident(name: str) -> None:
    net = Net(IMAGE)
    x = net.op("Sign", FREE[name](net, "input"))
    model = net.model(net.conv(x, net.signs(4, 8, 1, 1)))
    _, context = passes_until(model, "choose_lowering")
    last = list(context.layers.values())[-1]
    assert (last.lowering, last.N, last.reason) == ("bitserial", 1, "")
