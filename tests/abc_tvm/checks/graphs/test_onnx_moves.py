"""Operators that move, gather or sum, against the reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import defs, helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_moves import MOVEMENTS
from abc_tvm.checks.graphs.onnx_ops import run
from tests.abc_tvm.checks.graphs.reference import Row, X, agrees

CASES: list[Row] = [
    ("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", [X], {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2]}),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("Slice", [X, *(np.array(v) for v in ([5, 1], [-99, 4], [2, 3], [-2, 1]))], {}),
    ("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(2)], {}),
    ("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 0, 1])], {"mode": "edge"}),
    ("Pad", [X, np.array([0, 0, 1, 1, 0, 0, 1, 0])], {"mode": "reflect"}),
    ("Pad", [X, np.array([0, 0, 1, 0, 0, 0, 0, 1])], {"mode": "wrap"}),
    ("Unsqueeze", [X, np.array([0, -1])], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Flatten", [X], {"axis": 0}),
    ("ReduceMean", [X], {"axes": [2, 3], "keepdims": 0}),
    ("ReduceSum", [X, np.array([], np.int64)], {"noop_with_empty_axes": 1}),
    ("ReduceSum", [X, np.array([-1])], {"keepdims": 0}),
    ("Concat", [X, X[:, :1]], {"axis": 1}),
    ("Gather", [X, np.array([[-1, 0]])], {"axis": 2}),
    ("Transpose", [X], {}),
    ("Transpose", [X], {"perm": [0, 2, 3, 1]}),
    ("Squeeze", [X[:, :1], np.array([1])], {}),
    ("Squeeze", [X[:1, :1]], {}),
    ("Reshape", [X, np.array([0, -1])], {}),
    ("Reshape", [X[:0], np.array([0, 7])], {"allowzero": 1}),
    ("GlobalAveragePool", [X], {}),
    ("Mean", [X, X * 2, X[:1]], {}),
]


@pytest.mark.parametrize(("op_type", "values", "attributes"), CASES)
def test_as_the_reference_does(op_type: str, values: list[Any], attributes: dict[str, Any]) -> None:
    agrees(op_type, values, attributes)


def test_padding_before_the_image() -> None:
    """SAME_LOWER, which the reference implementation pads as SAME_UPPER."""
    node = helper.make_node(
        "MaxPool", ["x"], ["o"], kernel_shape=[2, 2], auto_pad="SAME_LOWER", strides=[2, 2]
    )
    (found,) = run(node, [X], 19, 1)
    padded = np.pad(X, ((0, 0), (0, 0), (1, 0), (0, 0)), constant_values=-np.inf)
    np.testing.assert_array_equal(found, padded.reshape(2, 4, 4, 2, 3, 2).max((3, 5)))


def test_more_images_than_the_graph_has() -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    (found,) = run(node, [np.zeros((10, 4, 3), np.float32), np.array([2, 12])], 17, 5)
    assert found.shape == (10, 12)


@pytest.mark.parametrize("sizes", [[1, 3], None])
def test_parts(sizes: list[int] | None) -> None:
    given = [X] if sizes is None else [X, np.array(sizes)]
    node = helper.make_node("Split", ["x", "s"][: len(given)], ["a", "b"], axis=1)
    first, second = run(node, given, 18, 1)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), X)
    assert first.shape[1] == (2 if sizes is None else 1)


@pytest.mark.parametrize(
    ("op_type", "values", "attributes"),
    [
        ("Pad", [X, np.array([0, 0, -1, 0, 0, 0, 0, 0])], {}),
        ("Pad", [X, np.array([0, 0, 1, 0, 0, 0, 0, 0])], {"mode": "mirror"}),
        ("AveragePool", [X], {"kernel_shape": [2, 2], "ceil_mode": 1}),
        ("AveragePool", [X], {"kernel_shape": [2, 2], "dilations": [2, 1]}),
        ("Reshape", [X, np.array([5, -1])], {}),
        ("Concat", [X], {}),
    ],
)
def test_what_it_leaves_open(op_type: str, values: list[Any], attributes: dict[str, Any]) -> None:
    node = helper.make_node(op_type, ["a", "b"][: len(values)], ["y"], **attributes)
    with pytest.raises(NotChecked, match=op_type):
        run(node, values, 18, 1)


def test_the_table_is_of_standard_operators() -> None:
    assert all(defs.has(name) for name in MOVEMENTS)
