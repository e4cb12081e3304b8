"""Layers keep the user's names through the import, told apart by weights and by order."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import frontend
from abc_tvm.layer_names import layer_names, layer_nodes


def model(*nodes: onnx.NodeProto, **stored: np.ndarray) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 4, 4]) for n in "xy"]
    held = [numpy_helper.from_array(np.float32(array), name) for name, array in stored.items()]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 8
    return made


def conv(x: str, w: str, y: str, name: str = "", bias: str = "") -> onnx.NodeProto:
    inputs = [x, w, bias] if bias else [x, w]
    return helper.make_node("Conv", inputs, [y], name=name)


def names(made: onnx.ModelProto) -> tuple[list[str], list[str]]:
    return layer_names(made, frontend.to_relax(made, "m"))


W = np.eye(2).reshape(2, 2, 1, 1)


def test_names_of_nodes() -> None:
    made = model(
        conv("x", "w", "a", "block.1/conv"),
        conv("a", "w", "b.c"),
        helper.make_node("Relu", ["b.c"], ["d"], name="relu"),
        conv("d", "w", "e", "block.1/conv"),
        conv("e", "w", "f", "block_1/conv"),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    )
    assert [name for name, _ in layer_nodes(made)] == [
        "block_1/conv", "b_c", "block_1/conv#2", "block_1/conv#3", "y",
    ]  # fmt: skip
    assert layer_nodes(model()) == []


def test_weights_tell_which_is_which() -> None:
    """The importer binds the layer first whose result is read first."""
    made = model(
        conv("x", "w", "a", "one"),
        conv("x", "v", "b", "two"),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Add", ["c", "a"], ["y"]),
        w=W,
        v=2 * W,
    )
    assert sorted(names(made)[0]) == ["one", "two"]
    module = frontend.to_relax(made, "m")
    values = [
        float(np.abs(binding.value.args[1].value.numpy()).max())
        for binding in module["main"].body.blocks[0].bindings
        if getattr(getattr(binding.value, "op", None), "name", "") == "relax.nn.conv2d"
    ]
    wanted = {1.0: "one", 2.0: "two"}
    assert layer_names(made, module)[0] == [wanted[value] for value in values]


def test_equal_weights_are_told_apart_by_order() -> None:
    made = model(
        conv("x", "w", "a", "one"),
        conv("a", "w", "b", "two"),
        conv("b", "w", "y", "three"),
        w=W,
    )
    assert names(made) == (["one", "two", "three"], [])


def test_dense_layers_are_counted_apart() -> None:
    made = model(
        conv("x", "w", "a", "c"), helper.make_node("MatMul", ["a", "m"], ["y"], name="d"),
        w=W, m=np.ones((4, 4)),
    )  # fmt: skip
    assert names(made) == (["c"], ["d"])


@pytest.mark.parametrize(("other", "wanted"), [("free", "dense_0"), ("dense_0", "dense_0#")])
def test_a_layer_that_is_no_stored_nodes(other: str, wanted: str) -> None:
    """Weights on the left are told by nothing."""
    made = model(
        conv("x", "w", "a", other), helper.make_node("MatMul", ["m", "a"], ["y"], name="d"),
        w=W, m=np.ones((4, 4)),
    )  # fmt: skip
    assert names(made) == ([other], [wanted])


def test_products_of_computed_tensors_go_by_their_nodes() -> None:
    made = model(
        conv("x", "w", "a", "c"),
        helper.make_node("MatMul", ["a", "m"], ["b"], name="dense"),
        helper.make_node("MatMul", ["a", "b"], ["e"], name="product"),
        helper.make_node("MatMul", ["e", "a"], ["y"], name="other.product"),
        w=W, m=np.ones((4, 4)),
    )  # fmt: skip
    assert names(made) == (["c"], ["dense", "product", "other_product"])
