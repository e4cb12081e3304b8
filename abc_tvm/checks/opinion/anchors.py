"""Tensors that both graphs have.

Anchors are the inputs, the outputs of layers (by name), of sums of layers that became one, and of
operators that neither side computes (in order).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from tvm.relax import Expr, Var

from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import Joined, OnnxLayer
from abc_tvm.checks.graphs.relax_graph import RelaxGraph, RelaxLayer, operator

OPAQUE = {
    "CumSum": "cumsum",
    "Einsum": "einsum",
    "GatherElements": "gather_elements",
    "GatherND": "gather_nd",
    "GridSample": "image.grid_sample",
    "ScatterElements": "scatter_elements",
    "ScatterND": "scatter_nd",
    "Pad": "call_tir pad",
    "Resize": "image.resize2d",
    "Upsample": "image.resize2d",
    "ConvTranspose": "nn.conv2d_transpose",
    "Softmax": "nn.softmax",
    "LayerNormalization": "nn.layer_norm",
    "InstanceNormalization": "nn.instance_norm",
}


@dataclass(frozen=True)
class CommonTensor:
    """``tensor`` of the ONNX graph, as a function of variables of the compiled module."""

    variables: tuple[Var, ...]
    tensor: str
    convert: Callable[..., np.ndarray]


def make_anchors(
    graph: OnnxGraph,
    module: RelaxGraph,
    layers: dict[str, OnnxLayer],
    sums: dict[str, Joined],
) -> list[CommonTensor]:
    """The anchors of two graphs; ``sums`` are the graph's layers that became one layer."""
    anchors = [
        CommonTensor((param,), name, lambda x: x)
        for param, name in zip(module.params, graph.inputs, strict=False)
    ]
    for layer in module.layers:
        if layer.name in sums:
            whole = members(module, layer.name, layers)
            convert = sums[layer.name].from_relax
            variables = tuple(m.var for m in whole)
            anchors.append(
                CommonTensor(variables, sums[layer.name].tensor, lambda *v, c=convert: c(v))
            )
        elif layer.name in layers and _plain(layer):
            one = layers[layer.name]
            tokens = _tokens(graph.shape(one.output)) if one.dense else None
            there = one.from_relax if tokens is None else tokens
            anchors.append(CommonTensor((layer.var,), one.output, there))
    for op_type, name in OPAQUE.items():
        theirs = [n for n in graph.nodes if n.op_type == op_type]
        ours = [var for var, value in module.order if _kind(value) == name]
        if len(theirs) == len(ours):
            for node, var in zip(theirs, ours, strict=True):
                biased = _with_bias(graph, node)
                if biased is not None:
                    anchors.append(CommonTensor((var,), node.output[0], biased))
    return anchors


def _tokens(shape: tuple[int, ...] | None) -> Callable[[np.ndarray], np.ndarray] | None:
    """How a dense layer's ``[B, H, W, C]`` lies in the graph's ``[B, …, T, C]`` of a shape.

    ``None`` where it has no tokens, or its shape is not known.
    """
    if shape is None or len(shape) < 3:
        return None
    outer = shape[1:-2]

    def convert(value: np.ndarray) -> np.ndarray:
        batch, height, width, channels = value.shape
        fits = prod(outer) == height
        rows = outer if fits else (1,) * (len(outer) - 1) + (height,)
        tokens = (*rows, width) if outer else (height * width,)
        return value.reshape(batch, *tokens, channels)

    return convert


def _with_bias(graph: OnnxGraph, node: onnx.NodeProto) -> Callable[[np.ndarray], np.ndarray] | None:
    """What the node's output is of the compiled module's, to which no bias is added yet.

    ``None`` where its bias is no constant.
    """
    if node.op_type != "ConvTranspose" or len(node.input) < 3 or not node.input[2]:
        return lambda x: x
    bias = graph.constant(node.input[2])
    if bias is None:
        return None
    return lambda x: np.asarray(x + bias.reshape((-1,) + (1,) * (x.ndim - 2)))


def _kind(value: Expr) -> str:
    """The operator; of a function of TVM's own with the beginning of its name."""
    name = operator(value)
    if name != "call_tir":
        return name
    return f"call_tir {str(value.args[0].name_hint).rstrip('0123456789')}"


def _plain(layer: RelaxLayer) -> bool:
    return layer.kind != "nn.conv2d" or str(layer.call.attrs.data_layout) == "NHWC"


def members(module: RelaxGraph, name: str, layers: dict[str, OnnxLayer]) -> list[RelaxLayer]:
    """The layers of the compiled module that a sum of the graph's became."""
    parts = []
    for layer in module.layers:
        base, _, number = layer.name.rpartition("+")
        further = base == name and number.isdigit() and layer.name not in layers
        if layer.name == name or further:
            parts.append(layer)
    return parts
