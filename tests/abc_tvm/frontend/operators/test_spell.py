"""Each spelling computes the same in every opset; what rewrites ask is refused where unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 5
OPSETS = (9, 10, 11, 13, 18)
NODE = helper.make_node("F", ["x", "k", ""], ["y"], name="node")


def editor(opset: int = 13, kind: int = TensorProto.FLOAT, shape: Any = (2, 3, 4)) -> Rewriter:
    values = [helper.make_tensor_value_info(n, kind, shape) for n in "xz"]
    stored = [numpy_helper.from_array(np.array([[3], [7]]), "k")]
    graph = helper.make_graph([NODE], "g", values, [onnx.ValueInfoProto(name="y")], stored)
    return Rewriter(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), "m")


def value(edit: Rewriter, name: str, x: np.ndarray = X) -> np.ndarray:
    """What the added nodes compute."""
    graph = helper.make_graph(
        edit.nodes,
        "g",
        [edit.graph.input[0]],
        [onnx.ValueInfoProto(name=name)],
        edit.graph.initializer,
    )
    imports = [helper.make_opsetid("", edit.opset)]
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))
    with np.errstate(all="ignore"):
        return np.asarray(evaluator.run(None, {"x": x})[0])


SPELLINGS: dict[str, tuple[Callable[[Rewriter], str], np.ndarray]] = {
    "reshape": (lambda e: spell.reshape(e, NODE, "x", [0, -1]), X.reshape(2, 12)),
    "take": (lambda e: spell.take(e, NODE, "x", [2, 0], 1), X[:, [2, 0]]),
    "cut": (lambda e: spell.cut(e, NODE, "x", [1, 2], [1, 0], [3, 3]), X[:, 1:3, :3]),
    "steps": (
        lambda e: spell.cut(e, NODE, "x", [1, 2], [2, 0], [0, 4], [-1, 2]),
        X[:, [2, 1]][:, :, ::2],
    ),
    "widen": (
        lambda e: spell.widen(e, NODE, "x", [0, 1, 0], [0, 0, 2]),
        np.pad(X, ((0, 0), (1, 0), (0, 2))),
    ),
    "fill": (
        lambda e: spell.widen(e, NODE, "x", [0, 0, 1], [0, 0, 0], np.float32(7)),
        np.pad(X, ((0, 0), (0, 0), (1, 0)), constant_values=7),
    ),
    "clamp": (lambda e: spell.clamp(e, NODE, "x", np.dtype("float32"), -1, 3), np.clip(X, -1, 3)),
    "cast": (lambda e: spell.cast(e, NODE, "x", TensorProto.INT32), X.astype(np.int32)),
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling(name: str, opset: int) -> None:
    edit = editor(opset)
    add, wanted = SPELLINGS[name]
    found = value(edit, add(edit))
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_ranks_and_extents() -> None:
    edit = editor(shape=("N", 3, 4))
    assert spell.rank_of(edit, NODE, "x") == 3
    assert spell.extents(edit, NODE, "x", [1, 2]) == [3, 4]
    for name, axes in (("x", [0, 1]), ("x", [3]), ("absent", [0])):
        with pytest.raises(UnsupportedError, match=f"needs the extents of '{name}' fixed"):
            spell.extents(edit, NODE, name, axes)
    with pytest.raises(UnsupportedError, match="reads 'absent', whose rank is unknown"):
        spell.rank_of(edit, NODE, "absent")


def test_inputs() -> None:
    edit = editor()
    assert [spell.given(NODE, n) for n in range(4)] == ["x", "k", "", ""]
    assert spell.numbers(edit, NODE, 1, "axes") == [3, 7]
    assert spell.numbers(edit, NODE, 2, "axes") is spell.stored(edit, NODE, 3, "axes") is None
    with pytest.raises(UnsupportedError, match="node 'node': operator F computes its axes at run"):
        spell.stored(edit, NODE, 0, "axes")


def test_real_numbers() -> None:
    assert spell.real(editor(), NODE, "x") == np.float32
    assert spell.real(editor(kind=TensorProto.DOUBLE), NODE, "x") == np.float64
    assert spell.real(editor(), NODE, "absent") == np.float32
    with pytest.raises(UnsupportedError, match="takes int8 tensors, which are not supported"):
        spell.real(editor(kind=TensorProto.INT8), NODE, "x")


def test_the_node_itself_with_other_attributes() -> None:
    edit = editor()
    node = helper.make_node("F", ["x"], ["y"], name="n", a=1, b=2, c=3)
    spell.keep(edit, node, ["a"], b=7)
    (kept,) = edit.nodes
    found = {a.name: a.i for a in kept.attribute}
    assert found == {"b": 7, "c": 3} and kept.name == "n"
    assert len(node.attribute) == 3


def test_float16_is_rounded_once() -> None:
    def third(edit: Rewriter, node: onnx.NodeProto) -> bool:
        return False

    widened = spell.rounded_once(third)
    node = helper.make_node("Exp", ["x"], ["y"])
    assert widened(editor(), node) is False
    edit = editor(kind=TensorProto.FLOAT16)
    assert widened(edit, node) is True
    assert [n.op_type for n in edit.nodes] == ["Cast", "Exp", "Cast"]
    x = X.astype(np.float16)
    with np.errstate(over="ignore"):
        wanted = np.exp(x.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(value(edit, "y", x), wanted)
