"""Constants are folded where their value is known and small; everything else stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.frontend.fold import evaluate, fold_constants


def model(*nodes: onnx.NodeProto, **stored: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def held(made: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}


def kinds(made: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


def node(op_type: str, *inputs: str, out: str = "k", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), [out], **attrs)


ADD = node("Add", "x", "k", out="y")


def test_a_chain_leaves_its_last_value_alone() -> None:
    made = model(node("Neg", "a", out="b"), node("Mul", "b", "a"), ADD, a=np.float32([1, 2]))
    assert fold_constants(made)
    assert kinds(made) == ["Add"]
    assert held(made)["k"].tolist() == [-1, -4]
    assert "b" not in held(made), "nothing reads it any more"
    assert not fold_constants(made)


@pytest.mark.parametrize(
    "kept",
    [
        node("Neg", "x"),
        node("Sin", "a"),
        node("Neg", "a", domain="mine"),
        node("RandomNormalLike", "a"),
        node("ConstantOfShape", "far"),
        node("Neg", "absent"),
    ],
    ids=lambda kept: kept.op_type + kept.domain + "".join(kept.input),
)
def test_what_stays(kept: onnx.NodeProto) -> None:
    made = model(kept, ADD, a=np.float32([1]), far=np.array([1 << 40]))
    before = made.SerializeToString()
    assert not fold_constants(made)
    assert made.SerializeToString() == before


def test_all_outputs_of_a_node_are_folded() -> None:
    """So is a quantile of weights written: TopK, and GatherElements of it."""
    top = helper.make_node("TopK", ["a", "two"], ["most", "where"])
    parts = helper.make_node("Split", ["most"], ["first", "", "k"][::2], axis=0)
    made = model(top, parts, ADD, a=np.float32([3, 7, 5]), two=np.array([2]))
    assert fold_constants(made)
    assert kinds(made) == ["Add"] and held(made)["k"].tolist() == [5]
    top = helper.make_node("TopK", ["a", "two"], ["", "where"])
    made = model(
        top, node("GatherElements", "a", "where"), ADD, a=np.float32([3, 7, 5]), two=np.array([2])
    )
    assert fold_constants(made)
    assert kinds(made) == ["Add"] and held(made)["k"].tolist() == [7, 5]


def test_a_node_of_which_one_output_is_the_graphs_stays() -> None:
    top = helper.make_node("TopK", ["a", "two"], ["y", "where"])
    made = model(top, a=np.float32([3, 7, 5]), two=np.array([2]))
    assert not fold_constants(made)


def test_an_output_of_the_graph_stays_a_nodes() -> None:
    made = model(node("Neg", "a", out="y"), a=np.float32([1]))
    assert not fold_constants(made)


def test_what_a_branch_may_read_is_kept() -> None:
    body = helper.make_graph([node("Neg", "k", out="r")], "b", [], [onnx.ValueInfoProto(name="r")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)
    made = model(node("Neg", "a"), branch, a=np.float32([1]))
    assert fold_constants(made)
    assert held(made)["k"].tolist() == [-1]


def test_no_nodes_and_no_constants() -> None:
    assert not fold_constants(model())
    assert not fold_constants(model(ADD))


@pytest.mark.parametrize(
    ("op_type", "inputs", "wanted"),
    [
        ("Round", [np.float32(2.5)], np.float32(2)),
        ("Add", [np.float32([[1], [2]]), np.float32([10])], np.float32([[11], [12]])),
        ("Range", [np.array([0]), np.array([5]), np.array([2])], np.array([0, 2, 4])),
        ("Concat", [np.float32([1]), np.zeros(0, np.float32)], np.float32([1])),
        ("Cast", [np.float32([-1.5, 300])], np.array([-1, 300], np.int64)),
    ],
)
def test_values(op_type: str, inputs: list[np.ndarray], wanted: np.ndarray) -> None:
    """Their type and rank, too: NumPy makes scalars of arrays without axes."""
    attrs = {"Concat": {"axis": 0}, "Cast": {"to": TensorProto.INT64}}.get(op_type, {})
    names = [f"i{n}" for n in range(len(inputs))]
    one = node(op_type, *names, **attrs)
    value = evaluate(one, dict(zip(names, inputs, strict=True)), 13)
    assert value is not None
    assert (value.dtype, value.shape) == (wanted.dtype, np.shape(wanted))
    np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("Expand", [np.float32([1]), np.array([3, 4])]),
        ("Tile", [np.float32([1, 2]), np.array([6])]),
        ("Range", [np.array(0), np.array(12), np.array(1)]),
        ("Pad", [np.float32([1]), np.array([5, 6])]),
        ("Gather", [np.float32([[1, 2]]), np.zeros(6, np.int64)]),
        ("GatherND", [np.float32([[1, 2]]), np.zeros((6, 1), np.int64)]),
        ("MatMul", [np.ones((4, 1), np.float32), np.ones((1, 3), np.float32)]),
    ],
)
def test_larger_than_allowed_is_not_computed(op_type: str, inputs: list[np.ndarray]) -> None:
    names = [f"i{n}" for n in range(len(inputs))]
    given = dict(zip(names, inputs, strict=True))
    assert evaluate(node(op_type, *names), given, 13, most=11) is None
    value = evaluate(node(op_type, *names), given, 13)
    assert value is not None and value.size == 12


def test_operands_that_do_not_fit() -> None:
    given = {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)}
    assert evaluate(node("Add", "a", "b"), given, 13) is None
    assert evaluate(node("Range", "a", "b", "b"), given, 13) is None
