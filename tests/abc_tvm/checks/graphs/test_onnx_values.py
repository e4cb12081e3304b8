"""Pointwise operators against the reference implementation, and what is left open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import defs, helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_ops import run
from abc_tvm.checks.graphs.onnx_values import POINTWISE
from tests.abc_tvm.checks.graphs.reference import Row, X, agrees

CASES: list[Row] = [
    ("BatchNormalization", [X, X[0, :, 0, 0], *(np.abs(X[i % 2, :, 1, 1]) for i in range(3))], {}),
    ("PRelu", [X, X[0, :, :1, :1]], {}),
    ("LeakyRelu", [X], {"alpha": 0.2}),
    ("Clip", [X, np.float32(-1), np.float32(1.5)], {}),
    ("Clip", [X], {}),
    ("Clip", [X, np.float32(2), np.float32(-2)], {}),
    ("Sign", [np.round(X)], {}),
    ("Round", [np.round(X) + np.float32(0.5)], {}),
    ("QuantizeLinear", [X, np.float32(0.25), np.int8(3)], {}),
    ("QuantizeLinear", [X, np.float32([0.5, 1, 2, 4])], {"axis": 1}),
    ("DequantizeLinear", [X.astype(np.int8), np.arange(4, dtype=np.float32), np.int8([0] * 4)], {}),
    ("Sum", [X, X[:1], np.float32(1)], {}),
    ("Max", [X, np.float32(0)], {}),
    ("Min", [X], {}),
    ("Where", [X > 0, X, np.float32(-1)], {}),
    ("Xor", [X > 0, X > 1], {}),
    ("Relu", [np.float32([-0.0, -1, 2])], {}),
    ("Cast", [X], {"to": 7}),
    ("Sigmoid", [np.float32([-80, 0, 80])], {}),
    ("GreaterOrEqual", [X, X], {}),
    ("Neg", [np.zeros(0, np.float32)], {}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "values", "attributes"), CASES)
def test_as_the_reference_does(op_type: str, values: list[Any], attributes: dict[str, Any]) -> None:
    agrees(op_type, values, attributes)


def test_refuses_what_it_does_not_know() -> None:
    node = helper.make_node("Div", ["a", "b"], ["c"])
    with pytest.raises(NotChecked, match="Div of integers"):
        run(node, [np.array([3]), np.array([2])], 17, 1)


@pytest.mark.parametrize(
    ("op_type", "values", "attributes"),
    [
        ("BatchNormalization", [X, *[X[0, :, 0, 0]] * 4], {"training_mode": 1}),
        ("QuantizeLinear", [X, X[:, :2, :, :]], {}),
        ("DequantizeLinear", [X.astype(np.int8), X[0, :, 0, 0]], {"block_size": 2, "axis": 1}),
        ("Add", [X, X[:, :3]], {}),
    ],
)
def test_what_it_leaves_open(op_type: str, values: list[Any], attributes: dict[str, Any]) -> None:
    node = helper.make_node(op_type, list("abcde")[: len(values)], ["y"], **attributes)
    with pytest.raises(NotChecked):
        run(node, values, 21, 1)


def test_the_table_is_of_standard_operators() -> None:
    assert all(defs.has(name) for name in POINTWISE)
