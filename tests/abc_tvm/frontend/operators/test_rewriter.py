"""The editor knows shapes and types as far as ONNX infers them, and spells axes by opset."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.operators.rewriter import MOST_TABLE, Rewriter, inferred


def editor(opset: int = 13) -> Rewriter:
    """``x [N, 3]`` float, ``a`` its Relu, ``b`` of an operator that nobody knows."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("F", ["a"], ["b"], domain="mine"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [onnx.ValueInfoProto(name="b")],
        [numpy_helper.from_array(np.zeros((2, 5), np.int8), "w")],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    return Rewriter(helper.make_model(graph, opset_imports=imports), "m.onnx")


def test_shapes_and_types() -> None:
    edit = editor()
    assert edit.opset == 13
    assert edit.shapes["x"] == edit.shapes["a"] == ("N", 3)
    assert edit.shapes["w"] == (2, 5) and "b" not in edit.shapes
    assert edit.ranks["a"] == 2
    assert edit.static_shape("w") == (2, 5)
    assert edit.static_shape("a") is None and edit.static_shape("b") is None
    assert edit.dtype("a") == np.float32 and edit.dtype("w") == np.int8
    assert edit.dtype("b") is None
    edit.dtypes["x"] = TensorProto.STRING
    assert edit.dtype("x") is None


@pytest.mark.parametrize(
    ("op_type", "since"), [("Squeeze", 13), ("Unsqueeze", 13), ("ReduceSum", 13), ("ReduceMax", 18)]
)
def test_axes_are_an_input_or_an_attribute(op_type: str, since: int) -> None:
    for opset in (since - 1, since):
        edit = editor(opset)
        node = edit.graph.node[0]
        edit.axes_op(node, op_type, "x", [1, -1], out="y")
        (made,) = edit.nodes
        as_input = opset >= since
        assert len(made.input) == 1 + as_input and len(made.attribute) == 1 - as_input
        axes = edit.value(made.input[1]) if as_input else made.attribute[0].ints
        assert axes is not None and [*axes] == [1, -1]


def test_the_last_node_needs_no_other_look() -> None:
    edit = editor()
    name = edit.last(edit.graph.node[0], "Relu", "x")
    assert edit.settled == {name} == {edit.nodes[0].output[0]}


def test_integers_are_stored_as_shapes_are() -> None:
    edit = editor()
    for values in ([], [3, -1]):
        array = edit.value(edit.integers(values, "hint"))
        assert array is not None
        assert array.dtype == np.int64 and array.tolist() == values


def test_a_table_that_is_too_large() -> None:
    edit = editor()
    node = edit.graph.node[0]
    edit.refuse_table(node, MOST_TABLE)
    with pytest.raises(UnsupportedError, match=r"m\.onnx: node 'relu': .* needs a stored table of"):
        edit.refuse_table(node, MOST_TABLE + 1)


def test_a_model_that_cannot_be_inferred_is_still_looked_at() -> None:
    edit = editor()
    bad = onnx.ModelProto()
    bad.CopyFrom(helper.make_model(edit.graph, opset_imports=[helper.make_opsetid("", 13)]))
    bad.graph.node[0].attribute.append(helper.make_attribute("nonsense", 1))
    assert inferred(bad).graph.node[0].op_type == "Relu"
    assert Rewriter(bad, "m").shapes["x"] == ("N", 3)
