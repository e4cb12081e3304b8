"""Layers that no pass takes up: transposed convolutions, volumes, products of two activations.

The passes know convolutions of images and products with stored matrices, which are all that has a
form on bits. The others are layers of the user's network too: each has a row of the report, with
its own name and kind, its multiply-accumulates and why it stays in float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import onnx
from onnx import helper

from abc_tvm.frontend.inferred import Dims, infer_dims
from abc_tvm.layer_names import DYNAMIC, kind_of, layer_nodes
from abc_tvm.report import Layer

RUN_TIME = "its input is quantized at run time (DynamicQuantizeLinear): it has no levels before"

_MOVES = ("Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that a reader looks through."""

_KINDS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def with_other_layers(rows: Sequence[Layer], simple: onnx.ModelProto) -> tuple[Layer, ...]:
    """``rows`` and those of all other layers of the graph, in its order, of the user's own kinds.

    Args:
        rows: The layers that the passes know, in their order.
        simple: The graph as the importer was given it.
    """
    if not any(node.op_type in _KINDS for node in simple.graph.node):
        return tuple(rows)
    kinds = {name: kind for name, node in layer_nodes(simple) if (kind := kind_of(node))}
    rows = [replace(row, op=kinds.get(row.name, row.op)) for row in rows]
    rows = _with_sources(rows, simple)
    places = {node.output[0]: i for i, node in enumerate(simple.graph.node)}
    named = {name: places[node.output[0]] for name, node in layer_nodes(simple)}
    known = {row.name for row in rows}
    ordered: list[tuple[int, Layer]] = []
    place = -1
    for row in rows:
        base = row.name if row.name in named else row.name.rpartition("+")[0]
        place = max(place, named.get(base, place))
        ordered.append((place, row))
    dims: Dims | None = None
    stored = {tensor.name: len(tensor.dims) for tensor in simple.graph.initializer}
    for i, node in enumerate(simple.graph.node):
        reason = _reason(node, stored)
        name = (node.name or node.output[0]).replace(".", "_")
        if reason is None or name in known:
            continue
        dims = infer_dims(simple) if dims is None else dims
        other = _row(node, name, reason, dims)
        if other is not None:
            ordered.append((i, other))
            known.add(name)
    return tuple(row for _, row in sorted(ordered, key=lambda pair: pair[0]))


def _with_sources(rows: Sequence[Layer], simple: onnx.ModelProto) -> list[Layer]:
    """Layers whose input is no step function name the node of the graph that it comes from."""
    makers = {name: node for node in simple.graph.node for name in node.output}
    nodes = dict(layer_nodes(simple))
    told = []
    for row in rows:
        node = nodes.get(row.name)
        unread = row.M is not None and row.N is None and not row.reason.startswith("lowering=")
        if row.lowering != "float" or not unread or node is None:
            told.append(row)
            continue
        if kind_of(node) is not None and node.doc_string.endswith(DYNAMIC):
            told.append(replace(row, reason=RUN_TIME))
            continue
        source = makers.get(node.input[0])
        while source is not None and source.op_type in _MOVES:
            source = makers.get(source.input[0])
        if source is None:
            told.append(row)
            continue
        name = source.name or source.output[0]
        told.append(replace(row, reason=f"{row.reason}; it reads {source.op_type} {name!r}"))
    return told


def _reason(node: onnx.NodeProto, stored: Mapping[str, int]) -> str | None:
    """Why a layer has no form on bits; ``None`` where it is none, or the passes know it."""
    if node.op_type == "ConvTranspose":
        return "a transposed convolution of this form runs as a float operator"
    if node.op_type in ("Gemm", "MatMul"):
        ranks = [stored.get(name) for name in node.input[:2]]
        if ranks[1] == 2 and ranks[0] is None:
            # The passes know it, but where its numbers are integers.
            return None if kind_of(node) is None else "its sums are integers of 32 bits"
        if ranks == [None, None]:
            return "both of its factors are computed"
        return "its weights are no matrix on the right"
    if node.op_type == "Conv" and _axes(node) == 3:
        return "a convolution of volumes runs as a float operator"
    return None


def _axes(node: onnx.NodeProto) -> int:
    for attribute in node.attribute:
        if attribute.name == "kernel_shape":
            return len(attribute.ints)
    return 0


def _row(node: onnx.NodeProto, name: str, reason: str, dims: Dims) -> Layer | None:
    first, second, out = (dims[n] for n in (node.input[0], node.input[1], node.output[0]))
    if first is None or second is None or out is None:
        return None
    if node.op_type in ("Gemm", "MatMul"):
        depth, width = first[-1] or 0, out[-1] or 0
        # Rows of a plain matrix may be anything; those that meet stored integers are images.
        images = 1 if len(out) < 3 and kind_of(node) is None else (out[0] or 1)
        macs = prod(n or 1 for n in out) * depth // images
        kind = kind_of(node) or "MatMul"
        return Layer(name, kind, [width, depth], macs, None, None, "float", reason, 0, 0)
    groups = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "group"), 1)
    taps = [n or 0 for n in second[2:]]
    transposed = node.op_type == "ConvTranspose"
    inside, outs = (
        (second[0] or 0, second[1] or 0) if transposed else (second[1] or 0, second[0] or 0)
    )
    if transposed:
        inside, outs = inside // groups, outs * groups
    # Of a transposed convolution each input reaches every tap, of another one each output.
    pixels = prod(n or 1 for n in (first if transposed else out)[2:])
    macs = pixels * prod(taps) * inside * outs
    size = prod(n or 0 for n in second) * 4
    return Layer(
        name, node.op_type, [outs, *taps, inside], macs, None, None, "float", reason, size, size
    )
