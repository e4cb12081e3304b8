"""An If whose condition is stored is its branch; what only a run decides is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import frontend
from abc_tvm.errors import UnsupportedError
from tests.abc_tvm.frontend.operators.judged import compiled, run_onnxruntime

X = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)


def value(name: str, kind: int = TensorProto.FLOAT, shape: Any = (2, 3)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def branch(
    name: str, *nodes: onnx.NodeProto, out: str = "", **stored: np.ndarray
) -> onnx.GraphProto:
    held = [numpy_helper.from_array(array, key) for key, array in stored.items()]
    return helper.make_graph(list(nodes), name, [], [value(out or nodes[-1].output[0])], held)


def node(op_type: str, inputs: str, out: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [out], name=f"node_{out}", **attrs)


def model(*nodes: onnx.NodeProto, opset: int = 13, **stored: np.ndarray) -> onnx.ModelProto:
    """From ``x [2, 3]`` to ``y [2, 3]``."""
    held = [numpy_helper.from_array(array, key) for key, array in stored.items()]
    graph = helper.make_graph(list(nodes), "g", [value("x")], [value("y")], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 10
    onnx.checker.check_model(made, full_check=True)
    return made


def agree(made: onnx.ModelProto) -> None:
    wanted = run_onnxruntime(made, {"x": X})["y"]
    np.testing.assert_array_equal(compiled(made).run({"x": X})["y"], wanted)


def two_ways(condition: str = "c", out: str = "y") -> onnx.NodeProto:
    """``x + 1 - x * 2`` or ``-x``; both branches make constants of their own, of equal names."""
    first = branch(
        "then",
        node("Constant", "", "k_then", value=numpy_helper.from_array(np.float32(1))),
        node("Add", "x k_then", "a"),
        node("Mul", "x two", "b"),
        node("Sub", "a b", "r_then"),
        two=np.float32(2).reshape(1),
    )
    second = branch("else", node("Neg", "x", "r_else"))
    return node("If", condition, out, then_branch=first, else_branch=second)


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_stored_condition(condition: bool, shape: tuple[int, ...]) -> None:
    agree(model(two_ways(), c=np.full(shape, condition)))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_condition_on_shapes(rank: int) -> None:
    """As exporters write it: whether a tensor has as many axes as it was traced with."""
    nodes = [
        node("Shape", "x", "s"),
        node("Size", "s", "n"),
        node("Equal", "n rank", "c"),
        two_ways(),
    ]
    agree(model(*nodes, rank=np.array(rank, np.int64)))


def test_branches_in_branches() -> None:
    inner = two_ways("d", "r_inner")
    outer = branch("outer", inner, node("Abs", "r_inner", "r"))
    other = branch("other", node("Relu", "x", "r_other"))
    whole = node("If", "c", "y", then_branch=outer, else_branch=other)
    agree(model(whole, c=np.array(True), d=np.array(False)))
    agree(model(whole, c=np.array(False), d=np.array(True)))


def test_a_branch_that_computes_nothing() -> None:
    """It hands a constant of its own through, or a tensor of the graph round it."""
    held = branch("then", out="k", k=X + 1)
    given = branch("else", node("Identity", "x", "r"))
    whole = node("If", "c", "z", then_branch=held, else_branch=given)
    for condition in (True, False):
        agree(model(whole, node("Add", "x z", "y"), c=np.array(condition)))


def test_a_condition_that_only_the_run_decides_is_refused() -> None:
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s zero", "c"),
        two_ways(),
    ]
    made = model(*nodes, zero=np.array(0, np.float32))
    with pytest.raises(UnsupportedError, match="node 'node_y': operator If takes a branch"):
        frontend.simple_onnx(made)


def test_loops_are_refused() -> None:
    body = helper.make_graph(
        [node("Add", "carried x", "next"), node("Identity", "go", "on")],
        "body",
        [value("i", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("carried")],
        [value("on", TensorProto.BOOL, ()), value("next")],
    )
    loop = helper.make_node("Loop", ["count", "", "x"], ["y"], name="node_y", body=body)
    with pytest.raises(UnsupportedError, match="node 'node_y': operator Loop is control flow"):
        frontend.simple_onnx(model(loop, count=np.array(3, np.int64)))
    step = helper.make_graph(
        [node("Add", "sum row", "new"), node("Identity", "new", "seen")],
        "step",
        [value("sum", shape=(3,)), value("row", shape=(3,))],
        [value("new", shape=(3,)), value("seen", shape=(3,))],
    )
    scan = helper.make_node(
        "Scan", ["start", "x"], ["last", "y"], name="node_y", body=step, num_scan_inputs=1
    )
    with pytest.raises(UnsupportedError, match="node 'node_y': operator Scan is control flow"):
        frontend.simple_onnx(model(scan, start=np.zeros(3, np.float32)))
