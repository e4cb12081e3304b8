"""PReLU and LeakyReLU as element-wise operators: the same floats."""

from __future__ import annotations

import onnx
import pytest

from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until


def activation(net: Net, x: str, kind: str) -> str:
    if kind == "leaky":
        return net.op("LeakyRelu", x, alpha=0.3)
    slopes = {"one": [0.1], "channels": [0.1, -0.5, 0, 2]}[kind]
    return net.op("PRelu", x, net.channels(slopes))


def network(kind: str) -> onnx.ModelProto:
    net = Net((2, 4, 5, 5))
    x = activation(net, net.conv("input", net.signs(4, 4, 1, 1)), kind)
    return net.model(net.conv(x, net.signs(4, 4, 1, 1)))


@pytest.mark.parametrize("kind", ["leaky", "one", "channels"])
def test_fires(kind: str) -> None:
    mod, _ = passes_until(network(kind), "canonicalise")
    assert not calls(mod, "nn.prelu") and not calls(mod, "nn.leakyrelu")
    assert [len(calls(mod, name)) for name in ("maximum", "minimum", "add")] == [1, 1, 1]
    assert len(calls(mod, "permute_dims")) == 2


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", ["leaky", "one", "channels"])
def test_numbers(kind: str, binary: bool) -> None:
    """Of a multiple of 1/4 by slopes that are none: one rounding each, and the sign of that."""
    net = Net((2, 4, 5, 5))
    x = activation(net, "input", kind)
    if binary:
        x = net.conv(net.op("Sign", x), net.signs(4, 4, 1, 1))
    assert_same_bits(net.model(x), "bitserial" if binary else "float")


def computed_slope() -> onnx.ModelProto:
    net = Net((2, 4, 5, 5))
    return net.model(net.op("PRelu", "input", net.op("Abs", "input")))


def test_a_slope_that_is_computed_stays_the_graphs_own() -> None:
    mod, _ = passes_until(computed_slope(), "canonicalise")
    assert not calls(mod, "maximum") and len(calls(mod, "where")) == 1
    assert_same_bits(computed_slope(), "float")
