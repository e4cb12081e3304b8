"""Constants that the graph holds or computes, and tensors computed from given ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph


def node(op_type: str, inputs: str, outputs: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attrs)


def graph(*nodes: onnx.NodeProto, **stored: Any) -> OnnxGraph:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xz"]
    held = [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in stored.items()]
    made = helper.make_graph(list(nodes), "g", values, [], held)
    return OnnxGraph(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]))


ONE = np.float32([1, -2])


def test_constants() -> None:
    one = graph(node("Neg", "k", "a"), node("Add", "a x", "y"), node("F", "k", "f"), k=[1, 2])
    assert one.stores("k") and not one.stores("a")
    value = one.constant("a")
    assert value is not None and value.tolist() == [-1, -2]
    assert one.constant("a") is value, "computed once"
    assert one.constant("x") is None and one.constant("y") is None
    assert one.constant("f") is None, "nobody knows F"
    assert one.constant("absent") is None


def test_a_long_chain_is_no_constant() -> None:
    names = ["k", *[f"a{n}" for n in range(20)]]
    nodes = [node("Neg", a, b) for a, b in itertools.pairwise(names)]
    one = graph(*nodes, k=[1])
    assert one.constant("a3") is not None and one.constant("a19") is None


def test_what_is_computed_from_what_is_given() -> None:
    one = graph(node("Relu", "x", "a"), node("Add", "a k", "b"), node("Neg", "z", "c"), k=[1, 1])
    values = one.evaluate(["b"], {"x": ONE})
    assert values["b"].tolist() == [2, 1] and values["a"].tolist() == [1, 0]
    assert "c" not in values
    assert one.evaluate(["b"], {"a": ONE})["b"].tolist() == [2, -1], "a given one is not computed"
    assert one.evaluate(["k"], {})["k"].tolist() == [1, 1]
    assert one.evaluate([], {}) == {}
    with pytest.raises(NotChecked, match="it depends on 'z', which is not known"):
        one.evaluate(["c"], {"x": ONE})


def test_the_nodes_on_the_way() -> None:
    one = graph(node("Relu", "x", "a"), node("Neg", "z", "b"), node("Add", "a b", "c"))
    assert one.needed(["c"], []) == [0, 1, 2]
    assert one.needed(["c"], ["a"]) == [1, 2]
    assert one.needed(["a"], ["a"]) == []


def test_several_outputs_and_ones_without_a_name() -> None:
    split = helper.make_node("Split", ["x"], ["", "second"], num_outputs=2)
    one = graph(split, node("Neg", "second", "y"))
    assert one.evaluate(["y"], {"x": ONE})["y"].tolist() == [2]
    assert "" not in one.maker
