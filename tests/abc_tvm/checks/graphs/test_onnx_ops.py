"""Operators without an account of their own go to the reference; what nobody knows is said."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_ops import ELEMENTWISE, ROUNDED, TABLE, run
from tests.abc_tvm.checks.graphs.reference import X, agrees


def test_as_the_reference_does() -> None:
    agrees("Softplus", [X], {})
    assert "Softplus" not in TABLE


def test_an_input_that_is_left_out() -> None:
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (found,) = run(node, [X, None, np.float32(1)], 19, 1)
    np.testing.assert_array_equal(found, np.minimum(X, np.float32(1)))


def test_nobody_knows_it() -> None:
    with pytest.raises(NotChecked, match="Strange"):
        run(helper.make_node("Strange", ["x"], ["y"], domain="mine"), [X], 19, 1)
    body = helper.make_graph([], "b", [], [onnx.ValueInfoProto(name="x")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    with pytest.raises(NotChecked, match="If holds a graph"):
        run(node, [np.array(True)], 19, 1)


def test_a_name_of_another_domain_is_another_operator() -> None:
    with pytest.raises(NotChecked):
        run(helper.make_node("Relu", ["x"], ["y"], domain="mine"), [X], 19, 1)


def test_faults_are_one_line() -> None:
    with pytest.raises(NotChecked) as caught:
        run(helper.make_node("Add", ["a", "b"], ["y"]), [X, X[:, :3]], 19, 1)
    assert str(caught.value).startswith("Add: ValueError: ") and "\n" not in str(caught.value)


def test_lists_of_operators() -> None:
    assert {"Relu", "Sigmoid", "Mean", "Gelu"} <= ELEMENTWISE
    assert not {"MaxPool", "Concat", "ReduceSum"} & ELEMENTWISE
    assert "Add" not in ROUNDED and "Sum" in ROUNDED
