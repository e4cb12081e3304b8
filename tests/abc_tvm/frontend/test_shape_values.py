"""Shape arithmetic is followed with open dimensions; what stays unknown stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.frontend.shape_values import ShapeValue, resolve_shapes


def node(op_type: str, inputs: str, out: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [out], **attrs)


def model(*nodes: onnx.NodeProto, x: list[int | str], **stored: Any) -> onnx.ModelProto:
    """From ``x`` to whatever the last node makes."""
    graph = helper.make_graph(
        [node("Shape", "x", "s"), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def value(made: onnx.ModelProto, name: str = "v") -> np.ndarray | None:
    """What became of a tensor: its stored value, if it has one now."""
    resolve_shapes(made)
    found = [t for t in made.graph.initializer if t.name == name]
    return numpy_helper.to_array(found[0]) if found else None


def target(made: onnx.ModelProto) -> list[int] | None:
    """Of the Reshape, where it is stored now."""
    name = next(n for n in made.graph.node if n.op_type == "Reshape").input[1]
    found = value(made, name)
    if found is None:
        name = next(n for n in made.graph.node if n.op_type == "Reshape").input[1]
        found = value(made, name)
    return None if found is None else found.tolist()


USE = node("Expand", "x v", "y")


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([node("Gather", "s one", "v")], 3),
        ([node("Gather", "s minus", "v")], [4]),
        ([node("Slice", "s i1 i3", "v")], [3, 4]),
        ([node("Slice", "s i1 i3 i0 i2", "v")], [3]),
        ([node("Gather", "s one", "a"), node("Unsqueeze", "a i0", "v")], [3]),
        ([node("Slice", "s i1 i2", "a"), node("Squeeze", "a", "v")], 3),
        ([node("Slice", "s i1 i3", "a"), node("Concat", "a i2", "v", axis=0)], [3, 4, 2]),
        ([node("Slice", "s i1 i3", "a"), node("Mul", "a i2", "v")], [6, 8]),
        ([node("Slice", "s i1 i3", "a"), node("Div", "a i2", "v")], [1, 2]),
        ([node("Slice", "s i1 i3", "a"), node("Sub", "a i3", "v")], [0, 1]),
        ([node("Slice", "s i1 i3", "a"), node("Add", "a i3", "v")], [6, 7]),
        ([node("Gather", "s one", "a"), node("Identity", "a", "v")], 3),
    ],
)
def test_numbers_become_constants(nodes: list[onnx.NodeProto], wanted: Any) -> None:
    numbers = {f"i{n}": np.array([n]) for n in range(4)}
    made = model(*nodes, USE, x=["N", 3, 4], one=1, minus=np.array([-1]), **numbers)
    found = value(made)
    assert found is not None and found.dtype == np.int64
    assert found.tolist() == wanted


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gather", "s zero", "v")],
        [node("Gather", "s far", "v")],
        [node("Slice", "s i0 i2", "v")],
        [node("Gather", "s zero", "a"), node("Mul", "a two", "v")],
        [node("Gather", "s one", "a"), node("Cast", "a", "v", to=TensorProto.FLOAT)],
        [node("Gather", "s one", "a"), node("Neg", "a", "v")],
        [node("Gather", "s one", "a"), node("Sub", "a far", "b"), node("Div", "b two", "v")],
    ],
)
def test_what_depends_on_the_batch_or_is_not_followed(nodes: list[onnx.NodeProto]) -> None:
    numbers = {"i0": np.array([0]), "i2": np.array([2])}
    made = model(*nodes, USE, x=["N", 3, 4], zero=0, one=1, two=2, far=9, **numbers)
    assert value(made) is None


def test_int32_stays_int32() -> None:
    nodes = [node("Cast", "s", "a", to=TensorProto.INT32), node("Gather", "a one", "v")]
    found = value(model(*nodes, USE, x=["N", 3], one=1))
    assert found is not None and found.dtype == np.int32


@pytest.mark.parametrize(
    ("x", "wanted"),
    [(["N", 3, 4], [0, -1]), ([2, 3, 4], [2, -1]), (["N", 3, "N"], [0, -1])],
)
def test_a_reshape_that_keeps_the_batch(x: list[int | str], wanted: list[int]) -> None:
    nodes = [
        node("Gather", "s i0", "n"),
        node("Concat", "n rest", "t", axis=0),
        node("Reshape", "x t", "y"),
    ]
    made = model(*nodes, x=x, i0=np.array([0]), rest=np.array([-1]))
    assert resolve_shapes(made)
    assert target(made) == wanted


def test_a_reshape_to_two_open_dimensions_is_left() -> None:
    nodes = [node("Gather", "s swap", "t"), node("Reshape", "x t", "y")]
    made = model(*nodes, x=["N", "M"], swap=np.array([1, 0]))
    assert not resolve_shapes(made)


def test_a_zero_that_means_zero() -> None:
    nodes = [node("Concat", "i0 s", "t", axis=0), node("Reshape", "x t", "y", allowzero=1)]
    made = model(*nodes, x=["N", 3], i0=np.array([0]))
    resolve_shapes(made)
    assert made.graph.node[-1].input[1] == "t"


def test_a_graph_that_asks_for_no_shape_is_not_touched() -> None:
    made = model(node("Relu", "x", "y"), x=["N"])
    del made.graph.node[0]
    assert not resolve_shapes(made)


def test_an_output_of_the_graph_stays_a_nodes() -> None:
    made = model(node("Gather", "s one", "y"), x=["N", 3], one=1)
    assert not any(t.name == "y" for t in made.graph.initializer)
    resolve_shapes(made)
    assert "y" in {name for n in made.graph.node for name in n.output}


def test_entries_that_are_all_numbers() -> None:
    assert ShapeValue((1, 2)).numbers() == [1, 2]
    assert ShapeValue(()).numbers() == []
    assert ShapeValue((1, "N")).numbers() is None
    assert ShapeValue((None,)).numbers() is None
