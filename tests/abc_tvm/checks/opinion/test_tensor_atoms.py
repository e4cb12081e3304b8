"""What each operator keeps, sets or loses of the atoms of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.opinion.anchors import CommonTensor
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.tensor_atoms import TensorAtoms

NONE, ANY = KnownAtoms(), KnownAtoms(True)


def node(op_type: str, inputs: str, output: str = "y", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attrs)


def graph(*nodes: onnx.NodeProto) -> OnnxGraph:
    """``x`` is an input, ``s`` a convolution's output, which stands still nowhere."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])
    stored = {
        "w": np.ones((2, 2, 1, 1), np.float32),
        "half": np.float32(0.5),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "few": np.float32([1, -1, 1]),
    }
    held = [numpy_helper.from_array(a, name) for name, a in stored.items()]
    made = helper.make_graph([node("Conv", "x w", "s"), *nodes], "g", [value], [], held)
    return OnnxGraph(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]))


def atoms(*nodes: onnx.NodeProto, values: dict[str, np.ndarray] | None = None) -> KnownAtoms:
    """Of ``y``."""
    return TensorAtoms(graph(*nodes), [], {}, values, frozenset()).all()["y"]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (node("Relu", "x"), ANY),
        (node("Relu", "s"), NONE),
        (node("MaxPool", "x", kernel_shape=[2, 2]), ANY),
        (node("Strange", "x"), ANY),
        (node("Mul", "x half"), ANY),
        (node("Mul", "x s"), NONE),
        (node("Add", "x s"), NONE),
        (node("Add", "x x"), ANY),
        (node("Conv", "x w"), NONE),
        (node("Softmax", "x"), NONE),
        (node("Sign", "s"), KnownAtoms(values=frozenset({-1.0, 0.0, 1.0}))),
        (node("Greater", "s half"), KnownAtoms(values=frozenset({0.0, 1.0}))),
        (node("Pad", "s pads"), KnownAtoms(values=frozenset({0.0}))),
        (node("Pad", "s pads half"), KnownAtoms(values=frozenset({0.5}))),
        (node("Pad", "s pads", mode="reflect"), NONE),
        (node("Pad", "s pads x"), NONE),
        (node("Where", "x s few"), KnownAtoms(values=frozenset({-1.0, 1.0}))),
        (node("Where", "x s x"), ANY),
    ],
)
def test_an_operator(made: onnx.NodeProto, wanted: KnownAtoms) -> None:
    assert atoms(made) == wanted


def test_tensors_put_together() -> None:
    padded = node("Pad", "s pads", "p"), node("Pad", "s pads half", "q")
    assert atoms(*padded, node("Concat", "p q", axis=1)) == NONE
    assert atoms(*padded, node("Concat", "p p", axis=1)).values == {0.0}
    assert atoms(node("Concat", "x x", axis=1)).everywhere
    assert atoms(node("Concat", "x w", axis=1)) == NONE, "a constant may stand still anywhere"


def test_channels_of_tensors_put_together() -> None:
    shapes = {"s": np.zeros((1, 2, 4, 4)), "x": np.zeros((1, 3, 4, 4))}
    found = atoms(node("Concat", "s x", axis=1), values=shapes)
    assert found.parts == ((0, 2, NONE), (2, 5, ANY))
    at = found.at(np.zeros((1, 1, 1, 5), np.float32))
    assert at.reshape(-1).tolist() == [False, False, True, True, True]
    assert atoms(node("Concat", "s x", axis=2), values=shapes).parts == ()
    turned = [node("Concat", "s x", "c", axis=1), node("Transpose", "c")]
    assert atoms(*turned, values=shapes).parts == (), "channels lie elsewhere then"


def test_sums_stand_still_at_multiples_of_their_scales() -> None:
    one = graph(node("Relu", "s"))
    var: Any = object()
    scale = np.float32([0.5, -0.5, 2, 0])
    form = IntegerSums(scale, np.full(4, 9), np.zeros(4, int), 1)
    anchors = [CommonTensor((var,), "s", lambda x: x)]
    known = TensorAtoms(one, anchors, {var: form}, None, frozenset()).all()
    assert known["s"] == KnownAtoms(scales=(0.5, 2.0))
    other = TensorAtoms(one, anchors, {}, None, frozenset()).all()
    assert other["s"] == NONE


def test_atoms_of_values() -> None:
    x = np.float32([0, 0.5, 0.75, 1e30])
    assert KnownAtoms(scales=(0.5,)).at(x).tolist()[:3] == [True, True, False]
    assert KnownAtoms(values=frozenset({0.75})).at(x).tolist() == [False, False, True, False]
    assert not NONE.at(x).any() and ANY.at(x).all()
    assert not NONE and ANY and KnownAtoms(scales=(1.0,))
