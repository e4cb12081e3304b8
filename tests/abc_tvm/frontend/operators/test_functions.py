"""Operators that ONNX defines as functions: their bodies, in this opset and in older ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.abc_tvm.frontend.operators.judge import agrees
from tests.abc_tvm.frontend.operators.judge import model_of as one_node
from tests.abc_tvm.frontend.operators.judged import Case, agree, compiled, run_onnxruntime


@pytest.mark.parametrize("opset", [12, 13, 18])
@pytest.mark.parametrize("alpha", [1.0, 0.3, 2.5])
def test_celu(opset: int, alpha: float, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.standard_normal(20) * 3, [0.0, -0.0, -100, 100]]).astype(np.float32)
    agree([Case("Celu", {"x": x}, {}, {"alpha": alpha}), Case("Celu", {"x": x})], opset)


@pytest.mark.parametrize("opset", [14, 22])
def test_hard_swish(opset: int) -> None:
    """At its knees, -3 and 3, and beyond them."""
    x = np.float32([-np.inf, -4, -3, -2.9, -0.0, 0, 1, 2.9, 3, 4, 1e30])
    agrees(one_node("HardSwish", {"x": x[1:]}, opset=opset), {"x": x[1:]}, rtol=1e-6)


@pytest.mark.parametrize("kind", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 9])
def test_windows(kind: str, periodic: int, size: int) -> None:
    """Of a stored size: the window is a constant, which the network multiplies with."""
    if size == 1 and not periodic:
        pytest.skip("ONNX divides by size - 1")
    graph = helper.make_graph(
        [
            helper.make_node(kind, ["n"], ["w"], periodic=periodic),
            helper.make_node("Mul", ["x", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (size,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (size,))],
        [numpy_helper.from_array(np.array(size, np.int64), "n")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    x = {"x": np.full(size, 3, np.float32)}
    wanted = run_onnxruntime(model, x)["y"]
    np.testing.assert_allclose(compiled(model).run(x)["y"], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("op_type", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("opset", [12, 13])
def test_losses(op_type: str, reduction: str, opset: int, rng: np.random.Generator) -> None:
    """With weights of classes, and with one that is left out."""
    x = rng.standard_normal((3, 5)).astype(np.float32)
    labels = np.array([0, 4, 2], np.int64)
    weights = {"w": rng.uniform(0.1, 1, 5).astype(np.float32)}
    image = rng.standard_normal((2, 5, 2, 3)).astype(np.float32)
    pixels = rng.integers(0, 5, (2, 2, 3))
    attrs: dict[str, Any] = {"reduction": reduction}
    cases = [
        Case(op_type, {"x": x, "t": labels}, {}, attrs),
        Case(op_type, {"x": x, "t": labels}, weights, attrs),
        Case(op_type, {"x": x, "t": labels}, {}, {**attrs, "ignore_index": 4}),
        Case(op_type, {"x": x, "t": labels}, weights, {**attrs, "ignore_index": 4}),
        Case(op_type, {"x": image, "t": pixels}, weights, attrs),
    ]
    if op_type == "SoftmaxCrossEntropyLoss":
        cases.append(Case(op_type, {"x": x, "t": labels}, weights, attrs, outputs=2))
    agree(cases, opset)


@pytest.mark.parametrize(("op_type", "attrs"), [("Swish", {}), ("Swish", {"alpha": 1.7})])
def test_swish(op_type: str, attrs: dict[str, float], rng: np.random.Generator) -> None:
    pytest.importorskip("onnx", minversion="1.20")
    x = rng.standard_normal((2, 6)).astype(np.float32)
    agrees(one_node(op_type, {"x": x}, opset=24, **attrs), {"x": x}, rtol=1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_softmax_of_half_precision_is_not_expanded(opset: int, rng: np.random.Generator) -> None:
    """Its body rounds ``x - max`` to float16: 2 % off where a probability is small."""
    x = (4 * rng.standard_normal((16, 8))).astype(np.float16)
    agree([Case(kind, {"x": x}, {}, {"axis": 0}) for kind in ("Softmax", "LogSoftmax")], opset)
