"""The checker's own NumPy meanings, against the onnx package's reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from abc_tvm.checks.graphs.integers import unit_of
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_ops import run

X = np.random.default_rng(0).normal(size=(2, 4, 7, 6)).astype(np.float32) * 3

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", [X], {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("BatchNormalization", [X, X[0, :, 0, 0], *(np.abs(X[i % 2, :, 1, 1]) for i in range(3))], {}),
    ("PRelu", [X, X[0, :, :1, :1]], {}),
    ("LeakyRelu", [X], {"alpha": 0.2}),
    ("Clip", [X, np.float32(-1), np.float32(1.5)], {}),
    ("Sign", [np.round(X)], {}),
    ("Round", [np.round(X) + np.float32(0.5)], {}),
    ("Slice", [X, *(np.array(v) for v in ([5, 1], [-99, 4], [2, 3], [-2, 1]))], {}),
    ("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(2)], {}),
    ("Unsqueeze", [X, np.array([0, -1])], {}),
    ("Flatten", [X], {"axis": 2}),
    ("ReduceMean", [X], {"axes": [2, 3], "keepdims": 0}),
    ("QuantizeLinear", [X, np.float32(0.25), np.int8(3)], {}),
    ("DequantizeLinear", [X.astype(np.int8), np.arange(4, dtype=np.float32), np.int8([0] * 4)], {}),
    ("Softplus", [X], {}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "values", "attributes"), CASES)
def test_as_the_reference_does(
    op_type: str, values: list[np.ndarray], attributes: dict[str, Any]
) -> None:
    names = [f"i{k}" for k in range(len(values))]
    node = helper.make_node(op_type, names, ["o"], **attributes)
    opset = 17 if op_type == "ReduceMean" else 19
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_empty_tensor_value_info(n) for n in names],
        [helper.make_empty_tensor_value_info("o")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    wanted = ReferenceEvaluator(model).run(None, dict(zip(names, values, strict=True)))[0]
    (found,) = run(node, values, opset, 1)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_padding_before_the_image() -> None:
    """SAME_LOWER, which the reference implementation pads as SAME_UPPER."""
    node = helper.make_node(
        "MaxPool", ["x"], ["o"], kernel_shape=[2, 2], auto_pad="SAME_LOWER", strides=[2, 2]
    )
    (found,) = run(node, [X], 19, 1)
    padded = np.pad(X, ((0, 0), (0, 0), (1, 0), (0, 0)), constant_values=-np.inf)
    np.testing.assert_array_equal(found, padded.reshape(2, 4, 4, 2, 3, 2).max((3, 5)))


def test_refuses_what_it_does_not_know() -> None:
    node = helper.make_node("Div", ["a", "b"], ["c"])
    with pytest.raises(NotChecked, match="Div of integers"):
        run(node, [np.array([3]), np.array([2])], 17, 1)


def test_more_images_than_the_graph_has() -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    (found,) = run(node, [np.zeros((10, 4, 3), np.float32), np.array([2, 12])], 17, 5)
    assert found.shape == (10, 12)


@pytest.mark.parametrize(
    ("values", "whole"),
    [([-1.5, 0.5, 2.0], [-3, 1, 4]), ([0.0, 0.3], [0, 1]), ([31 / 18, 5 / 18], [31, 5])],
)
def test_integer_multiples(values: list[float], whole: list[int]) -> None:
    found = unit_of(np.array(values, np.float32))
    assert found is not None
    assert found[1].tolist() == whole


def test_numbers_without_a_unit() -> None:
    assert unit_of(np.array([1.0, np.pi, np.e])) is None
    assert unit_of(np.zeros(3)) is None
