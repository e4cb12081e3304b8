"""An If with a stored condition is its branch, in which everything is done that is done outside."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.errors import UserError
from abc_tvm.frontend import simple_onnx
from tests.abc_tvm.frontend.operators.judged import compiled, run_onnxruntime, same

Nodes = list[onnx.NodeProto]
Stored = dict[str, np.ndarray]
node = helper.make_node


def branch(nodes: Nodes, out: str, stored: Stored | None = None) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(a, name) for name, a in (stored or {}).items()]
    value = helper.make_tensor_value_info(out, TensorProto.FLOAT, [None] * 4)
    return helper.make_graph(nodes, "branch", [], [value], tensors)


def network(branches: list[onnx.GraphProto], opset: int = 13) -> onnx.ModelProto:
    """An If for each branch, on the result of the one before, whose name is y0, y1, …; x first.

    The last one is the graph's output ``y``."""
    nodes = []
    for number, taken in enumerate(branches):
        last = number == len(branches) - 1
        source, out = ("x" if number == 0 else f"y{number - 1}"), ("y" if last else f"y{number}")
        other = branch([node("Neg", [source], ["e"])], "e")
        made = node("If", ["c"], [out], f"if{number}", then_branch=taken, else_branch=other)
        nodes.append(made)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.array(True), "c")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def agrees(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    feeds = {"x": rng.standard_normal((2, 3, 5, 5)).astype(np.float32)}
    same(compiled(model).run(feeds)["y"], run_onnxruntime(model, feeds)["y"], "If")


WEIGHT = {"w": np.ones((3, 3, 3, 3), np.float32)}
BODIES: dict[str, tuple[Nodes, Stored]] = {
    "missing operator": ([node("Sinh", ["x"], ["t"])], {}),
    "ceil_mode": (
        [node("MaxPool", ["x"], ["t"], kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1)],
        {},
    ),
    "auto_pad": (
        [node("Conv", ["x", "w"], ["t"], auto_pad="SAME_LOWER", strides=[2, 2])],
        WEIGHT,
    ),
    "constant": (
        [
            node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32([2]))),
            node("Mul", ["x", "k"], ["t"]),
        ],
        {},
    ),
    "straight through": (
        [
            node("Sign", ["x"], ["a"]),
            node("Sub", ["a", "x"], ["b"]),
            node("Add", ["b", "x"], ["t"]),
        ],
        {},
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_branch_is_rewritten_as_all_else(name: str, rng: np.random.Generator) -> None:
    nodes, stored = BODIES[name]
    agrees(network([branch(nodes, "t", stored)]), rng)


def test_an_if_in_a_branch(rng: np.random.Generator) -> None:
    inner = node(
        "If",
        ["c"],
        ["t"],
        then_branch=branch([node("Sinh", ["x"], ["i"])], "i"),
        else_branch=branch([node("Abs", ["x"], ["j"])], "j"),
    )
    agrees(network([branch([inner], "t")]), rng)


def test_branches_that_use_the_same_names(rng: np.random.Generator) -> None:
    def body(source: str, number: float) -> onnx.GraphProto:
        nodes = [node("Add", [source, "w"], ["q"]), node("Relu", ["q"], ["t"])]
        return branch(nodes, "t", {"w": np.float32([number])})

    agrees(network([body("x", 0.5), body("y0", -0.25), body("y1", -0.125)]), rng)


@pytest.mark.parametrize(("number", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_what_a_branch_stores_is_checked(number: float, word: str) -> None:
    taken = branch([node("Add", ["x", "w"], ["t"])], "t", {"w": np.float32([number])})
    with pytest.raises(UserError, match=f"tensor 'w.*' holds {word}"):
        simple_onnx(network([taken]))


def test_other_control_flow_is_refused() -> None:
    model = network([branch([node("Relu", ["x"], ["t"])], "t")])
    del model.graph.initializer[:]
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    with pytest.raises(UserError, match="'if0': operator If takes a branch that only its run"):
        simple_onnx(model)
