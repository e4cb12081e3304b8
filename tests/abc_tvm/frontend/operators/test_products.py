"""Products with stored weights in any place as layers of tokens, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm import compile as compile_network
from abc_tvm.frontend.operators import rewrite_operators
from tests.end_to_end.judge import Compiled, reference
from tests.relay_passes.harness import Net, assert_same_bits

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], bool]] = {
    "leading one": ((2, 5, 33), (1, 33, 9), False),
    "leading ones": ((2, 3, 5, 64), (1, 1, 64, 9), False),
    "column": ((2, 5, 65), (65,), False),
    "left": ((2, 63, 5), (9, 63), True),
    "left, one": ((2, 1, 5), (9, 1), True),
    "left of four axes": ((2, 3, 32, 7), (9, 32), True),
    "left, leading one": ((2, 31, 5), (1, 9, 31), True),
}
"""Shapes of the tensor and of the weights, and whether these are the left factor."""


def model(name: str, signs: bool, opened: bool = False) -> onnx.ModelProto:
    shape, weights, left = LAYERS[name]
    net = Net(shape)
    weight = net.signs(*weights) if signs else net.rng.standard_normal(weights).astype(np.float32)
    x, w = net.step("input") if signs else "input", net.constant(weight)
    return net.model(net.op("MatMul", *((w, x) if left else (x, w))), opened)


@pytest.mark.parametrize("opened", [False, True], ids=["fixed", "open batch"])
@pytest.mark.parametrize("name", LAYERS)
def test_on_bits(name: str, opened: bool) -> None:
    context = assert_same_bits(model(name, True, opened))
    assert [row.lowering for row in context.layers.values()] == ["bitserial"]


@pytest.mark.parametrize("name", LAYERS)
def test_in_float(name: str) -> None:
    given = model(name, signs=False)
    made = Compiled(given, "auto")
    x = {"input": np.random.default_rng(0).standard_normal(LAYERS[name][0]).astype(np.float32)}
    (found,), (wanted,) = made.run(x), reference(given, x)
    assert found.shape == wanted.shape
    # Sums of at most 65 products of order one, in another order.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_second_opinion_follows_them(name: str) -> None:
    report = compile_network(model(name, True), "native", lowering="bitserial").report
    assert report.second_opinion == {"checked": 1, "unknown": {}, "wrong": {}}


@pytest.mark.parametrize(
    ("shape", "weights", "left"),
    [((33, 5), (9, 33), True), ((2, 5, 33), (2, 33, 9), False), ((5, 33), (1, 33, 9), False)],
    ids=["left of two axes", "several matrices", "more axes than the tensor"],
)
def test_what_stays(shape: tuple[int, ...], weights: tuple[int, ...], left: bool) -> None:
    net = Net(shape)
    x, w = net.step("input"), net.constant(net.signs(*weights))
    given = net.model(net.op("MatMul", *((w, x) if left else (x, w))))
    made = onnx.ModelProto()
    made.CopyFrom(given)
    assert not rewrite_operators(made)
    x_in = {"input": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    np.testing.assert_array_equal(Compiled(given, "auto").run(x_in)[0], reference(given, x_in)[0])
