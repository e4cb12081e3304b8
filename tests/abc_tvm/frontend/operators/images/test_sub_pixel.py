"""Transposed convolutions as ordinary ones, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from abc_tvm.frontend.operators import rewrite_operators
from tests.end_to_end.judge import Compiled, reference
from tests.relay_passes.harness import Net, assert_same_bits

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "4, stride 2": ((4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "2, stride 2": ((2, 2), {"strides": [2, 2]}),
    "3, stride 2": ((3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "5, stride 3": ((5, 5), {"strides": [3, 3], "pads": [2, 0, 1, 1]}),
    "stride 1": ((3, 3), {"pads": [1, 1, 1, 1]}),
    "whole": ((3, 3), {}),
    "two strides": ((4, 3), {"strides": [2, 1], "pads": [1, 1, 1, 1]}),
    "much is cut": ((6, 6), {"strides": [2, 2], "pads": [5, 4, 5, 6]}),
    "groups": ((4, 4), {"strides": [2, 2], "group": 2}),
    "depthwise": ((4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 6}),
    "output shape": ((3, 3), {"strides": [2, 2], "output_shape": [10, 12]}),
    "same": ((3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
}
SHAPE = (2, 6, 5, 6)


def model(name: str, signs: bool = False, biased: bool = True) -> onnx.ModelProto:
    kernel, attrs = CASES[name]
    net = Net(SHAPE)
    outs = 6 // attrs.get("group", 1) if name == "depthwise" else 4
    shape = (6, outs, *kernel)
    weight = net.signs(*shape) if signs else net.rng.standard_normal(shape).astype(np.float32)
    x = net.step("input") if signs else "input"
    given = [net.constant(weight)]
    if biased:
        channels = outs * attrs.get("group", 1)
        given.append(net.constant(np.arange(channels, dtype=np.float32)))
    return net.model(net.op("ConvTranspose", x, *given, **attrs))


@pytest.mark.parametrize("biased", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("name", CASES)
def test_in_float(name: str, biased: bool) -> None:
    given = model(name, biased=biased)
    made = Compiled(given, "auto")
    x = {"input": np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)}
    (found,), (wanted,) = made.run(x), reference(given, x)
    assert found.shape == wanted.shape
    # Sums of at most 216 products of order one, in another order.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_on_bits(name: str) -> None:
    context = assert_same_bits(model(name, signs=True, biased=False))
    assert {row.lowering for row in context.layers.values()} == {"bitserial"}


@pytest.mark.parametrize(
    ("name", "count"), [("4, stride 2", 1), ("3, stride 2", 4), ("two strides", 1), ("whole", 1)]
)
def test_how_many_convolutions_it_is(name: str, count: int) -> None:
    made = onnx.ModelProto()
    made.CopyFrom(model(name))
    rewrite_operators(made)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("Conv") == count and "ConvTranspose" not in kinds


STAYS: dict[str, dict[str, Any]] = {
    "dilated": {"dilations": [2, 2]},
    "more strides than taps": {"strides": [4, 4]},
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays(name: str) -> None:
    net = Net(SHAPE)
    weight = net.constant(net.rng.standard_normal((6, 4, 3, 3)).astype(np.float32))
    given = net.model(net.op("ConvTranspose", "input", weight, **STAYS[name]))
    made = onnx.ModelProto()
    made.CopyFrom(given)
    rewrite_operators(made)
    assert "ConvTranspose" in {node.op_type for node in made.graph.node}
    x = {"input": np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)}
    (found,), (wanted,) = Compiled(given, "auto").run(x), reference(given, x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


def test_an_open_batch() -> None:
    net = Net(SHAPE)
    weight = net.constant(net.signs(6, 4, 4, 4))
    x = net.op("ConvTranspose", net.step("input"), weight, strides=[2, 2])
    assert_same_bits(net.model(x, True))
