"""Layers as ONNX writes them, and sums of layers whose coefficients are measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import OnnxLayer, joined, layer_of, moved_from
from abc_tvm.layer_names import layer_nodes

W = np.arange(12, dtype=np.float32).reshape(3, 4)
FOUR = W.reshape(3, 4, 1, 1)
SMALL = np.ones((4, 3), np.float32)


def node(op_type: str, inputs: str, output: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], name=output, **attrs)


def model(*nodes: onnx.NodeProto, **stored: Any) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 5])
    held = [numpy_helper.from_array(np.asarray(a), name) for name, a in stored.items()]
    made = helper.make_graph(list(nodes), "g", [value], [], held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)])


def layer(one: onnx.NodeProto, **stored: Any) -> OnnxLayer | None:
    return layer_of(OnnxGraph(model(one, **stored)), "l", one)


@pytest.mark.parametrize(
    ("one", "stored", "weight"),
    [
        (node("Conv", "x w", "y"), {"w": FOUR}, FOUR),
        (node("MatMul", "x w", "y"), {"w": W}, W.T),
        (node("Gemm", "x w", "y"), {"w": W}, W.T),
        (node("Gemm", "x w", "y", transB=1, alpha=0.5), {"w": W}, W / 2),
    ],
)
def test_weights(one: onnx.NodeProto, stored: dict[str, Any], weight: np.ndarray) -> None:
    found = layer(one, **stored)
    assert found is not None and found.bias is None
    np.testing.assert_array_equal(found.weight, weight)
    assert (found.data, found.stored, found.output) == ("x", "w", "y")
    assert found.dense == (one.op_type != "Conv")


@pytest.mark.parametrize(
    ("one", "stored"),
    [
        (node("Conv", "x x", "y"), {}),
        (node("Conv", "x w", "y"), {"w": FOUR.astype(np.float64)}),
        (node("Conv", "x w", "y"), {"w": W}),
        (node("Conv", "x w x", "y"), {"w": FOUR}),
        (node("MatMul", "x w", "y"), {"w": FOUR}),
        (node("Gemm", "x w", "y", transA=1), {"w": W}),
        (node("Gemm", "x w c", "y"), {"w": W, "c": np.ones((2, 4), np.float32)}),
    ],
)
def test_what_is_no_layer(one: onnx.NodeProto, stored: dict[str, Any]) -> None:
    assert layer(one, **stored) is None


def test_a_bias_of_a_gemm_is_spread_and_scaled() -> None:
    found = layer(node("Gemm", "x w c", "y", beta=2.0), w=W, c=np.float32([[3]]))
    assert found is not None and found.bias is not None
    assert found.bias.tolist() == [6] * 4


def test_geometry() -> None:
    plain = layer(node("Conv", "x w", "y"), w=FOUR)
    kernel = np.zeros((6, 2, 3, 2), np.float32)
    attrs = {"strides": [2, 1], "auto_pad": "SAME_UPPER", "group": 2}
    same = layer(node("Conv", "x w", "y", **attrs), w=kernel)
    dense = layer(node("MatMul", "x w", "y"), w=W)
    assert plain is not None and same is not None and dense is not None
    for one in (plain, dense):
        assert one.geometry((5, 5)) == {
            "strides": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "groups": 1,
        }  # fmt: skip
    assert same.geometry((5, 5)) == {
        "strides": [2, 1], "padding": [1, 0, 1, 1], "dilation": [1, 1], "groups": 2,
    }  # fmt: skip


def test_outputs_in_the_graphs_layout() -> None:
    value = np.arange(2 * 5 * 6 * 3, dtype=np.float32).reshape(2, 5, 6, 3)
    conv = layer(node("Conv", "x w b", "y"), w=FOUR, b=np.float32([1, 2, 3]))
    assert conv is not None
    wanted = (value + np.float32([1, 2, 3])).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(conv.from_relax(value), wanted)
    dense = layer(node("MatMul", "x w", "y"), w=W)
    assert dense is not None
    assert dense.from_relax(np.zeros((2, 1, 1, 4))).shape == (2, 4)


def sums(made: onnx.ModelProto, *present: str) -> dict[str, Any]:
    graph = OnnxGraph(made)
    layers = {name: layer_of(graph, name, one) for name, one in layer_nodes(made)}
    known = {name: one for name, one in layers.items() if one is not None}
    return joined(graph, known, set(present), 1)


def two(*rest: onnx.NodeProto, **stored: Any) -> onnx.ModelProto:
    """Two convolutions of ``x``, the second with a bias, and what follows."""
    convs = node("Conv", "x w", "a"), node("Conv", "x v b", "c")
    bias = np.float32([1, 2, 3])
    return model(*convs, *rest, w=FOUR, v=FOUR + 1, b=bias, **stored)


def test_coefficients_are_measured() -> None:
    scale = np.float32([1, 2, 4]).reshape(3, 1, 1)
    made = two(node("Mul", "c k", "d"), node("Sub", "a d", "y"), k=scale)
    (form,) = sums(made, "a").values()
    assert form.tensor == "y" and [one.name for one in form.layers] == ["a", "c"]
    assert form.coefficients.tolist() == [[1, 1, 1], [-1, -2, -4]]
    assert form.bias.tolist() == [-1, -4, -12]
    value = np.ones((1, 5, 5, 3), np.float32)
    found = form.from_relax([value, 2 * value])
    assert found.shape == (1, 3, 5, 5)
    assert found[0, :, 0, 0].tolist() == [2, -1, -9]


def test_a_sum_that_is_transposed() -> None:
    made = two(node("Add", "a c", "s"), node("Transpose", "s", "y", perm=[0, 2, 3, 1]))
    assert sums(made, "a")["a"].tensor == "s"


@pytest.mark.parametrize(
    "rest",
    [
        [node("Mul", "a c", "y")],
        [node("Relu", "c", "d"), node("Add", "a d", "y")],
        [node("Div", "k c", "d"), node("Add", "a d", "y")],
        [],
    ],
)
def test_what_is_not_linear_is_no_sum(rest: list[onnx.NodeProto]) -> None:
    assert sums(two(*rest, k=np.float32([2])), "a") == {}


def test_nothing_is_missing() -> None:
    made = two(node("Add", "a c", "y"))
    assert sums(made, "a", "c") == {} and sums(made) == {}


def test_transpositions_are_followed() -> None:
    graph = OnnxGraph(
        model(
            node("Relu", "x", "r"),
            node("Transpose", "r", "a", perm=[0, 2, 3, 1]),
            node("Transpose", "a", "b", perm=[0, 3, 1, 2]),
            node("Transpose", "b", "c"),
        )
    )
    assert moved_from(graph, "r") == ("r", None)
    assert moved_from(graph, "a") == ("r", (0, 2, 3, 1))
    assert moved_from(graph, "b") == ("r", None), "there and back"
    assert moved_from(graph, "c") == ("c", None)
