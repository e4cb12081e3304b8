"""Names stay unique, constants are found however they are written, and errors name the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend.graph_edit import (
    GraphEditor,
    attributes,
    constant_of,
    describe,
    drop_unused_initializers,
)


def model(*nodes: onnx.NodeProto, **stored: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    return helper.make_model(graph)


def constant(**value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["k"], **value)


RELU = helper.make_node("Relu", ["x"], ["y"], name="act")


def test_how_messages_name_a_node() -> None:
    assert describe(RELU) == "node 'act': operator Relu"
    assert describe(helper.make_node("F", ["x"], ["y"], domain="d")) == (
        "node 'y': operator F (domain 'd')"
    )
    assert describe(onnx.NodeProto(op_type="F")) == "node '?': operator F"


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        (constant(value_float=0.5), np.float32(0.5)),
        (constant(value_floats=[0.5, 1]), np.float32([0.5, 1])),
        (constant(value_int=7), np.int64(7)),
        (constant(value_ints=[3]), np.array([3])),
        (constant(value=numpy_helper.from_array(np.int8([[1]]))), np.int8([[1]])),
    ],
)
def test_constants(node: onnx.NodeProto, wanted: np.ndarray) -> None:
    value = constant_of(node)
    assert value is not None
    assert value.dtype == wanted.dtype
    np.testing.assert_array_equal(value, wanted)
    edited = GraphEditor(model(node, RELU), "m").value("k")
    assert edited is not None
    np.testing.assert_array_equal(edited, wanted)


@pytest.mark.parametrize(
    "node",
    [
        RELU,
        constant(),
        constant(value_string=b"a"),
        constant(value=helper.make_tensor("t", TensorProto.STRING, [1], [b"a"])),
        constant(value_float=0.5, value_int=1),
    ],
)
def test_what_is_no_constant(node: onnx.NodeProto) -> None:
    assert constant_of(node) is None


def test_attributes_are_decoded() -> None:
    node = helper.make_node("F", [], [], mode="same", axes=[1, 2], scale=0.5)
    assert attributes(node) == {"mode": "same", "axes": [1, 2], "scale": 0.5}
    node.attribute[1].s = b"\xff"
    assert attributes(RELU) == {}


def test_initializers_that_nothing_reads() -> None:
    body = helper.make_graph(
        [helper.make_node("Neg", ["inner"], ["r"])], "b", [], [onnx.ValueInfoProto(name="given")]
    )
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body)
    made = model(branch, c=True, inner=1.0, given=2.0, unused=3.0, y=4.0)
    assert drop_unused_initializers(made)
    assert [tensor.name for tensor in made.graph.initializer] == ["c", "inner", "given", "y"]
    assert not drop_unused_initializers(made)


def test_fresh_names() -> None:
    edit = GraphEditor(model(RELU, w=1.0), "m")
    assert [edit.fresh(name) for name in ("a", "a", "a", "x", "w")] == [
        "a", "a_1", "a_2", "x_1", "w_1",
    ]  # fmt: skip


def test_what_is_added() -> None:
    made = model(RELU, w=1.0)
    edit = GraphEditor(made, "m")
    assert edit.value("w") == 1 and edit.value("x") is None
    name = edit.constant(0.1, "w")
    half = edit.constant(np.float16([1]), "half")
    value, stored = edit.value(name), edit.value(half)
    assert value is not None and value.dtype == np.float32 and value.shape == ()
    assert stored is not None and stored.dtype == np.float16
    out = edit.op(RELU, "Max", "x", name, out="y")
    inner = edit.op(RELU, "Abs", "x")
    assert (out, inner) == ("y", "y/Abs")
    assert [node.name for node in edit.nodes] == ["act/Max_0", "act/Abs_1"]
    assert [node.op_type for node in made.graph.node] == ["Relu"], "the caller replaces them"


def test_errors_name_the_model_and_the_node() -> None:
    edit = GraphEditor(model(RELU), "m.onnx")
    assert isinstance(edit.refuse(RELU, "is odd"), UnsupportedError)
    assert isinstance(edit.invalid(RELU, "is odd"), ModelError)
    assert str(edit.invalid(RELU, "is odd")) == "m.onnx: node 'act': operator Relu is odd"
    assert edit.inputs(RELU, ("x",)) == ["x"]
    with pytest.raises(ModelError, match="needs the inputs x, scale and one output"):
        edit.inputs(RELU, ("x", "scale"))
    with pytest.raises(ModelError, match="needs the inputs"):
        edit.inputs(helper.make_node("F", ["x", ""], ["y"]), ("x", "scale"))
