"""Models older than opset 9: raised, with the same values, or refused; never read as new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import frontend
from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.dialects.old_opset import raise_old_opset
from tests.abc_tvm.frontend.operators.judged import compiled, run_onnxruntime

X = np.random.default_rng(3).standard_normal((2, 3, 4, 4)).astype(np.float32)
CHANNEL = np.float32([1, 2, 3])


def old(
    op_type: str,
    opset: int,
    stored: dict[str, np.ndarray] | None = None,
    shape: tuple[int, ...] = X.shape,
    **attrs: Any,
) -> onnx.ModelProto:
    """One node on ``x``, and a Relu behind it."""
    stored = stored or {}
    nodes = [
        helper.make_node(op_type, ["x", *stored], ["z"], name="node", **attrs),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        # Before IR version 4 stored tensors are inputs as well.
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in {"x": X, **stored}.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(a, n) for n, a in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 3
    return model


def computes(model: onnx.ModelProto, wanted: np.ndarray) -> None:
    found = compiled(model).run({"x": X})["y"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, np.maximum(wanted, 0), rtol=1e-5, atol=1e-6)


BN = {name: CHANNEL * scale for name, scale in (("g", 1), ("b", -0.3), ("m", 0.2), ("v", 1.5))}
OPSET_7 = [
    ("BatchNormalization", BN, {}, X.shape),
    ("AveragePool", {}, {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, (2, 3, 4, 4)),
    ("MaxPool", {}, {"kernel_shape": [3, 3], "strides": [2, 2]}, (2, 3, 1, 1)),
    ("Upsample", {}, {"scales": [1.0, 1.0, 2.0, 2.0]}, (2, 3, 8, 8)),
    ("PRelu", {"s": CHANNEL.reshape(3, 1, 1)}, {}, X.shape),
    ("Clip", {}, {"min": -0.5, "max": 0.5}, X.shape),
    ("Flatten", {}, {"axis": 1}, (2, 48)),
    ("ReduceSum", {}, {"axes": [2, 3], "keepdims": 0}, (2, 3)),
    ("Dropout", {}, {"ratio": 0.5}, X.shape),
]


@pytest.mark.parametrize("opset", [7, 8])
@pytest.mark.parametrize("case", OPSET_7, ids=[case[0] for case in OPSET_7])
def test_opsets_7_and_8_against_onnxruntime(case: Any, opset: int) -> None:
    op_type, stored, attrs, shape = case
    model = old(op_type, opset, stored, shape, **attrs)
    computes(model, run_onnxruntime(model, {"x": X})["y"])


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_operands_that_broadcast_from_an_axis_are_refused(op_type: str) -> None:
    """From the channels on, before opset 7, and not from the last axis as today."""
    model = old(op_type, 6, {"c": CHANNEL}, broadcast=1, axis=1)
    with pytest.raises(UnsupportedError, match="opset 6 is older than 9"):
        frontend.simple_onnx(model)


def test_operands_of_opset_6_of_equal_shapes() -> None:
    model = old("Add", 6, {"c": X[::-1].copy()})
    computes(model, X + X[::-1])


def test_opset_6() -> None:
    computes(old("BatchNormalization", 6, BN, is_test=1), batch_norm())
    computes(old("Dropout", 6, is_test=1), X)
    computes(old("Clip", 6, min=-0.5, max=0.5), np.clip(X, -0.5, 0.5))


def batch_norm() -> np.ndarray:
    g, b, m, v = (array[:, None, None] for array in BN.values())
    return (X - m) / np.sqrt(v + np.float32(1e-5)) * g + b


def test_a_batch_normalisation_that_trains_is_no_other_one() -> None:
    """Of one output alone it is "test mode" (ONNX), unless ``is_test`` says otherwise."""
    computes(old("BatchNormalization", 6, BN), batch_norm())
    with pytest.raises(UnsupportedError, match="opset 6 is older than 9"):
        frontend.simple_onnx(old("BatchNormalization", 6, BN, is_test=0))


def test_shapes_in_attributes_of_opset_4() -> None:
    model = old("Reshape", 4, {}, (2, 48))
    model.graph.node[0].attribute.append(helper.make_attribute("shape", [2, -1]))
    computes(model, X.reshape(2, 48))


def test_a_slope_for_each_channel_is_refused() -> None:
    """It was broadcast from the channels, and the converter leaves it as it is."""
    with pytest.raises(UnsupportedError, match="opset 6 is older than 9"):
        frontend.simple_onnx(old("PRelu", 6, {"s": CHANNEL}))
    computes(old("PRelu", 6, {"s": np.float32([0.5])}), np.where(X < 0, X / 2, X))


def test_new_models_are_left_alone() -> None:
    model = old("Clip", 9, {}, min=-0.5, max=0.5)
    assert raise_old_opset(model, "model") is model


def test_an_operator_of_later_opsets_is_named() -> None:
    with pytest.raises(UnsupportedError, match="opset 7 is older than 9"):
        frontend.simple_onnx(old("Resize", 7, {"s": np.float32([1, 1, 2, 2])}, (2, 3, 8, 8)))
