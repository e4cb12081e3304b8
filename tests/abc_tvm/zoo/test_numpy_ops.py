"""Every NumPy meaning against onnxruntime, on one node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.layers import window
from abc_tvm.zoo.numpy_moves import MOVES
from abc_tvm.zoo.numpy_ops import MEANINGS

RNG = np.random.default_rng(0)


def draw(*dims: int) -> np.ndarray:
    return RNG.standard_normal(dims, dtype=np.float32)


IMAGE = (2, 3, 9, 8)
STATISTICS = [draw(3), draw(3), draw(3), np.abs(draw(3))]
BOUNDS = [np.array(-0.5, np.float32), np.array(0.5, np.float32)]
BATCH_NORM = {"epsilon": 1e-5}
CASES: list[tuple[str, tuple[int, ...], list[np.ndarray], dict[str, Any]]] = [
    ("Add", IMAGE, [draw()], {}),
    ("AveragePool", IMAGE, [], window(2, 2)),
    ("BatchNormalization", IMAGE, STATISTICS, BATCH_NORM),
    ("BatchNormalization", (5, 3), STATISTICS, BATCH_NORM),
    ("Clip", IMAGE, BOUNDS, {}),
    ("Conv", IMAGE, [draw(4, 3, 3, 3)], window(3, 1, 1)),
    ("Conv", IMAGE, [draw(4, 3, 3, 3)], window(3, 2, 1)),
    ("Conv", IMAGE, [draw(4, 3, 1, 1)], window(1, 2)),
    ("Conv", IMAGE, [draw(4, 3, 7, 7)], window(7, 2, 3)),
    ("Conv", IMAGE, [draw(4, 3, 5, 5)], window(5)),
    ("Div", IMAGE, [np.array(3, np.float32)], {}),
    ("Conv", IMAGE, [draw(3, 1, 3, 3)], {**window(3, 1, 1), "group": 3}),
    ("Max", IMAGE, [draw()], {}),
    ("Min", IMAGE, [draw()], {}),
    ("Neg", IMAGE, [], {}),
    ("PRelu", IMAGE, [draw(3, 1, 1)], {}),
    ("ReduceMean", IMAGE, [], {"axes": [2, 3], "keepdims": 0}),
    ("Round", IMAGE, [], {}),
    ("Sigmoid", IMAGE, [], {}),
    ("Softmax", IMAGE, [], {"axis": -1}),
    ("Gemm", (2, 5), [draw(5, 3), draw(3)], {}),
    ("GlobalAveragePool", IMAGE, [], {}),
    ("Conv", (2, 3, 9), [draw(4, 3, 5)], {"kernel_shape": [5], "strides": [2], "pads": [2, 2]}),
    ("LayerNormalization", (2, 3, 8), [draw(8), draw(8)], {"axis": -1, "epsilon": 1e-5}),
    ("MatMul", (2, 5), [draw(5, 3)], {}),
    ("MatMul", (2, 3, 4, 5), [draw(2, 3, 5, 6)], {}),
    ("MaxPool", IMAGE, [], window(3, 2, 1)),
    ("MaxPool", IMAGE, [], window(2, 2)),
    ("Mul", IMAGE, [draw()], {}),
    ("Relu", IMAGE, [], {}),
    ("Sign", IMAGE, [], {}),
    ("Sub", IMAGE, [draw()], {}),
    ("Sum", IMAGE, [draw(*IMAGE), draw(*IMAGE)], {}),
]


@pytest.mark.parametrize(("kind", "dims", "constants", "attributes"), CASES)
def test_meaning_is_onnxruntimes(
    kind: str, dims: tuple[int, ...], constants: list[np.ndarray], attributes: dict[str, Any]
) -> None:
    g = GraphBuilder(dims)
    inputs = [g.input, *(g.constant(f"c{i}", value) for i, value in enumerate(constants))]
    output = g.op(kind, inputs, "output", **attributes)
    session = ort.InferenceSession(g.model(output, name=kind).SerializeToString())
    (expected,) = session.run(None, {"input": g.input.value})
    assert output.value.dtype == expected.dtype
    # Sums of at most 150 products of order one: rounding stays below 150 ulp.
    np.testing.assert_allclose(output.value, expected, rtol=1e-5, atol=2e-5)


def test_comparison_and_cast() -> None:
    g = GraphBuilder(IMAGE)
    bit = g.op("GreaterOrEqual", [g.input, g.scalar(0.5)], "bit")
    output = g.op("Cast", [bit], "output", to=TensorProto.FLOAT)
    session = ort.InferenceSession(g.model(output, name="step").SerializeToString())
    (expected,) = session.run(None, {"input": g.input.value})
    np.testing.assert_array_equal(output.value, expected)


def test_every_meaning_has_a_case() -> None:
    others = {"Cast", "GreaterOrEqual", "Sqrt"}
    assert {case[0] for case in CASES} | others | set(MOVES) == set(MEANINGS)


def test_roots_of_squares() -> None:
    g = GraphBuilder(IMAGE)
    output = g.op("Sqrt", [g.op("Mul", [g.input, g.input], "square")], "output")
    np.testing.assert_allclose(output.value, np.abs(g.input.value), rtol=1e-6)
