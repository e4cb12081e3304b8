"""A Pad of zeros moves into the convolutions behind it; any other stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.frontend.pads import fold_pads

PADS = [0, 0, 1, 2, 0, 0, 3, 4]


def model(pad: onnx.NodeProto, *nodes: onnx.NodeProto, **stored: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        [pad, *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def conv(out: str = "y", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", ["p", "w"], [out], **attrs)


def pad(*inputs: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node("Pad", ["x", *inputs], ["p"], **attrs)


def pads_of(node: onnx.NodeProto) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "pads"), [])


@pytest.mark.parametrize(
    ("node", "stored"),
    [
        (pad("n"), {"n": PADS}),
        (pad("n", "zero"), {"n": PADS, "zero": np.float32(0)}),
        (pad("n", "zero"), {"n": PADS, "zero": np.float32([0])}),
        (pad(pads=PADS), {}),
        (pad(pads=PADS, mode="constant", value=0.0), {}),
    ],
)
def test_moves(node: onnx.NodeProto, stored: dict[str, Any]) -> None:
    made = fold_pads(model(node, conv("a", pads=[1, 1, 1, 1]), conv(), **stored))
    assert [n.op_type for n in made.graph.node] == ["Conv", "Conv"]
    first, second = made.graph.node
    assert pads_of(first) == [2, 3, 4, 5] and pads_of(second) == [1, 2, 3, 4]
    assert first.input[0] == second.input[0] == "x"


@pytest.mark.parametrize(
    ("node", "stored"),
    [
        (pad("n", "one"), {"n": PADS, "one": np.float32(1)}),
        (pad("n", mode="reflect"), {"n": PADS}),
        (pad("n"), {"n": [0, 1, *PADS[2:]]}),
        (pad("n"), {"n": [0, 0, -1, *PADS[3:]]}),
        (pad("n"), {"n": [0, 1, 0, 1, 0, 1]}),
        (pad("x"), {}),
        (pad("n", "x"), {"n": PADS}),
        (pad("n", "", "axes"), {"n": PADS, "axes": [0, 1, 2, 3]}),
        (pad(pads=PADS, value=1.0), {}),
        (pad("n", domain="mine"), {"n": PADS}),
    ],
)
def test_stays(node: onnx.NodeProto, stored: dict[str, Any]) -> None:
    made = model(node, conv(), **stored)
    before = made.SerializeToString()
    assert fold_pads(made).SerializeToString() == before


def test_stays_before_padding_that_the_convolution_chooses() -> None:
    made = fold_pads(model(pad("n"), conv(auto_pad="SAME_UPPER"), n=PADS))
    assert [n.op_type for n in made.graph.node] == ["Pad", "Conv"]
    made = fold_pads(model(pad("n"), conv(auto_pad="NOTSET"), n=PADS))
    assert [n.op_type for n in made.graph.node] == ["Conv"]


def test_another_reader_keeps_it() -> None:
    made = fold_pads(model(pad("n"), conv("a"), helper.make_node("Relu", ["p"], ["y"]), n=PADS))
    assert [n.op_type for n in made.graph.node] == ["Pad", "Conv", "Relu"]
    assert made.graph.node[1].input[0] == "x"
