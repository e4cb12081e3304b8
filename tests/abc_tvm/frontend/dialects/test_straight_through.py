"""``(a − x) + x`` is ``a`` where ``a`` is a step function of ``x``, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from abc_tvm.frontend.dialects.cast_like import settle_casts
from abc_tvm.frontend.dialects.straight_through import remove_straight_through


def model(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    constants = {"zero": 0.0, "one": 1.0, "minus": -1.0, "scale": 0.75}
    graph = helper.make_graph(
        list(nodes),
        "g",
        [value(name, TensorProto.FLOAT, [4, 5]) for name in ("x", "other")],
        [value(name, TensorProto.FLOAT, [4, 5]) for name in outputs],
        [numpy_helper.from_array(np.float32(c), name) for name, c in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def node(kind: str, *names: str) -> onnx.NodeProto:
    return helper.make_node(kind, names[:-1], names[-1:])


SIGN = node("Sign", "x", "a")
PAPER = [
    node("GreaterOrEqual", "x", "zero", "bit"),
    node("Where", "bit", "one", "minus", "signs"),
    node("Mul", "signs", "scale", "a"),
]
CLIPPED = [node("Clip", "x", "minus", "one", "c"), node("Sign", "x", "a")]


@pytest.mark.parametrize(
    "nodes",
    [
        [SIGN, node("Sub", "a", "x", "d"), node("Add", "d", "x", "s")],
        [SIGN, node("Sub", "a", "x", "d"), node("Add", "x", "d", "s")],
        [*PAPER, node("Sub", "a", "x", "d"), node("Add", "d", "x", "s")],
        [*CLIPPED, node("Sub", "a", "c", "d"), node("Add", "d", "c", "s")],
    ],
    ids=["difference first", "difference last", "scaled step", "clipped"],
)
def test_fires(nodes: list[onnx.NodeProto]) -> None:
    network = model(*nodes, node("Mul", "s", "scale", "y"))
    feeds = {
        "x": np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32) * 100,
        "other": np.zeros((4, 5), np.float32),
    }
    (wanted,) = ReferenceEvaluator(network).run(None, feeds)
    assert remove_straight_through(network)
    assert "Add" not in {n.op_type for n in network.graph.node}
    (found,) = ReferenceEvaluator(network).run(None, feeds)
    assert len(np.unique(found)) == 2 <= len(np.unique(wanted))
    # What is gone is the rounding of x + d: half a unit in the last place of |x| ≤ 512, twice.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=512 * 2.0**-24 * 2)
    assert not remove_straight_through(network)


def test_an_output_keeps_its_name() -> None:
    network = model(SIGN, node("Sub", "a", "x", "d"), node("Add", "d", "x", "y"))
    assert remove_straight_through(network)
    assert network.graph.node[-1].op_type == "Identity"
    assert list(network.graph.node[-1].output) == ["y"]


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([SIGN, node("Sub", "a", "other", "d"), node("Add", "d", "other", "y")], ("y",)),
        ([SIGN, node("Sub", "x", "a", "d"), node("Add", "d", "x", "y")], ("y",)),
        ([SIGN, node("Sub", "a", "x", "d"), node("Add", "d", "x", "y")], ("y", "d")),
        (
            [
                SIGN,
                node("Sub", "a", "x", "d"),
                node("Add", "d", "x", "s"),
                node("Mul", "d", "s", "y"),
            ],
            ("y",),
        ),
        (
            [
                node("Mul", "x", "scale", "a"),
                node("Sub", "a", "x", "d"),
                node("Add", "d", "x", "y"),
            ],
            ("y",),
        ),
    ],
    ids=["another tensor", "turned round", "an output", "read twice", "no step"],
)
def test_refuses(nodes: list[onnx.NodeProto], outputs: tuple[str, ...]) -> None:
    network = model(*nodes, outputs=outputs)
    before = network.SerializeToString()
    assert not remove_straight_through(network)
    assert network.SerializeToString() == before


def test_cast_like_gets_its_type() -> None:
    network = model(node("CastLike", "one", "x", "c"), node("Add", "x", "c", "y"))
    assert settle_casts(network)
    cast = network.graph.node[0]
    assert (cast.op_type, cast.attribute[0].i) == ("Cast", TensorProto.FLOAT)
    onnx.checker.check_model(network, full_check=True)
    assert not settle_casts(network)
