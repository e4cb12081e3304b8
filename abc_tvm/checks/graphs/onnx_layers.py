"""Convolutions and dense layers of the ONNX graph, and sums of them that became one layer.

A layer goes by the name that ``abc_tvm.layer_names`` gives it. Layers that are missing in the
compiled module were joined into another one, by linearity: the first tensor that depends on both
is, as a function of their outputs, ``sum of coefficients * outputs + bias``. The coefficients are
measured, by computing the graph between them on unit vectors in float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx
from onnx import helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.windows import onnx_pads

LINEAR = frozenset({
    "Add", "BatchNormalization", "Concat", "Div", "Identity", "Mul", "Neg", "ReduceMean",
    "ReduceSum", "Reshape", "Squeeze", "Sub", "Sum", "Transpose", "Unsqueeze",
})  # fmt: skip


@dataclass(frozen=True)
class OnnxLayer:
    """``output = data * weight + bias``.

    ``weight`` float ``[OC, IC/g, KH, KW]``, or ``[OC, F]`` of a dense layer; ``bias`` float32
    ``[OC]`` or ``None``.
    """

    name: str
    node: onnx.NodeProto
    weight: np.ndarray
    bias: np.ndarray | None

    @property
    def stored(self) -> str:
        """Name of the tensor that its weights are stored in."""
        return str(self.node.input[1])

    @property
    def data(self) -> str:
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        return str(self.node.output[0])

    @property
    def dense(self) -> bool:
        return self.weight.ndim == 2

    def geometry(self, size: tuple[int, int]) -> dict[str, list[int] | int]:
        """Strides, padding (top, left, bottom, right), dilation and groups on an image."""
        if self.dense:
            return {"strides": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "groups": 1}
        attributes = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        auto = attributes.get("auto_pad", b"NOTSET")
        attributes["auto_pad"] = auto.decode() if isinstance(auto, bytes) else auto
        strides = list(attributes.get("strides", [1, 1]))
        dilation = list(attributes.get("dilations", [1, 1]))
        kernel = self.weight.shape[2:]
        return {
            "strides": strides,
            "padding": onnx_pads(size, kernel, strides, dilation, attributes),
            "dilation": dilation,
            "groups": int(attributes.get("group", 1)),
        }

    def from_relax(self, value: np.ndarray) -> np.ndarray:
        """The output in ONNX's layout, of the NHWC value that has no bias yet."""
        if self.dense:
            value = value.reshape(value.shape[0], value.shape[-1])
        else:
            value = value.transpose(0, 3, 1, 2)
        if self.bias is None:
            return value
        return value + self.bias.reshape((-1,) + (1,) * (value.ndim - 2))


def layer_of(graph: OnnxGraph, name: str, node: onnx.NodeProto) -> OnnxLayer | None:
    """The layer that a node is; ``None`` where its weights are no constant."""
    weight = graph.constant(node.input[1])
    if weight is None or weight.dtype != np.float32:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if len(node.input) > 2 and node.input[2] and bias is None:
        return None
    if node.op_type == "Conv":
        return OnnxLayer(name, node, weight, bias) if weight.ndim == 4 else None
    if weight.ndim != 2 or attributes.get("transA"):
        return None
    weight = weight if attributes.get("transB") else weight.T
    scale = np.float32(attributes.get("alpha", 1.0))
    if bias is not None:
        # C of a Gemm may have two axes: the first is the batch's, and is 1 where it is a bias.
        if bias.ndim == 2 and len(bias) != 1:
            return None
        bias = np.broadcast_to(bias.reshape(-1), len(weight))
        bias = bias * np.float32(attributes.get("beta", 1.0))
    return OnnxLayer(name, node, weight if scale == 1 else weight * scale, bias)


@dataclass(frozen=True)
class Joined:
    """``tensor = sum of coefficients[i] * (layers[i] without bias) + bias``, per output channel.

    ``coefficients`` float64 ``[T, OC]``, ``bias`` float64 ``[OC]``.
    """

    tensor: str
    layers: tuple[OnnxLayer, ...]
    coefficients: np.ndarray
    bias: np.ndarray
    axes: tuple[int, ...]
    """Of the tensor's, in terms of NHWC; two of a dense layer's."""

    def from_relax(self, values: Iterable[np.ndarray]) -> np.ndarray:
        """The tensor, of the outputs of the layers that the compiled module has for it."""
        total = reduce(np.add, values)
        if np.any(self.bias):
            total = total + self.bias.astype(np.float32)
        if len(self.axes) == 2:
            return np.asarray(total.reshape(total.shape[0], total.shape[-1]))
        return np.asarray(total.transpose(self.axes))


def joined(
    graph: OnnxGraph, layers: dict[str, OnnxLayer], present: set[str], batch: int
) -> dict[str, Joined]:
    """By the name of the layer that took them in: the layers that were joined.

    ``layers`` are all of the graph, ``present`` the names that the compiled module still has.
    """
    missing = [name for name in layers if name not in present]
    if not missing:
        return {}
    behind = _behind(graph, layers)
    first: dict[str, list[str]] = {}
    for name in missing:
        for names in behind.values():
            kept = names & present
            if name in names and kept:
                if len(kept) == 1:
                    first.setdefault(next(iter(kept)), []).append(name)
                break
    result: dict[str, Joined] = {}
    for name, others in first.items():
        wanted = {name, *others}
        tensor = next((t for t, names in behind.items() if names >= wanted), None)
        if tensor is not None and behind[tensor] & present == {name}:
            members = tuple(layers[n] for n in layers if n in behind[tensor])
            try:
                result[name] = _measured(graph, tensor, members, batch)
            except NotChecked:
                continue
    return result


def _behind(graph: OnnxGraph, layers: dict[str, OnnxLayer]) -> dict[str, set[str]]:
    """For tensors that are linear in layers' outputs: the names of those layers."""
    behind: dict[str, set[str]] = {}
    made = {layer.output: name for name, layer in layers.items()}
    for node in graph.nodes:
        for output in node.output:
            if output in made:
                behind[output] = {made[output]}
        if node.op_type not in LINEAR:
            continue
        if not any(n in behind for n in node.input):
            continue
        variable = [n for n in node.input if n and graph.constant(n) is None]
        if any(n not in behind for n in variable):
            continue
        if node.op_type in ("Mul", "Div") and len(variable) > 1:
            continue
        if node.op_type == "Div" and node.input[0] not in behind:
            continue
        behind[node.output[0]] = set().union(*(behind[n] for n in variable))
    return behind


def _measured(graph: OnnxGraph, tensor: str, layers: tuple[OnnxLayer, ...], batch: int) -> Joined:
    channels = {len(layer.weight) for layer in layers}
    if len(channels) != 1:
        raise NotChecked("layers of different widths were joined")
    count, width = len(layers), channels.pop()
    height, breadth = (2, 3) if width > 3 else (5, 7)
    # One image a unit vector, the last one for the bias alone.
    total = -(-(count + 1) // batch) * batch
    given = {}
    for i, layer in enumerate(layers):
        value = np.zeros((total, width))
        value[i] = 1
        if layer.bias is not None:
            value = value + layer.bias
        if not layer.dense:
            value = np.tile(value[:, :, None, None], (1, 1, height, breadth))
        given[layer.output] = value
    sums = graph.evaluate([tensor], given, images=total // batch)[tensor]
    if layers[0].dense:
        axes: tuple[int, ...] = (0, 3)
    else:
        lies = {height: 1, breadth: 2, width: 3}
        axes = (0, *(lies.get(extent, -1) for extent in sums.shape[1:]))
    shape = tuple((total, height, breadth, width)[axis] for axis in axes)
    if sums.dtype != np.float64 or sums.shape != shape or len(set(axes)) < len(shape):
        raise NotChecked("a sum of layers that is no linear form")
    if not layers[0].dense:
        sums = sums.transpose(np.argsort(axes))[:, 0, 0]
    return Joined(tensor, layers, sums[:count] - sums[count], sums[count], axes)


def moved_from(graph: OnnxGraph, tensor: str) -> tuple[str, tuple[int, ...] | None]:
    """What a tensor is a transposition of, and its axes."""
    axes: tuple[int, ...] | None = None
    while tensor in graph.maker:
        node = graph.nodes[graph.maker[tensor]]
        perm = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), None)
        if node.op_type != "Transpose" or perm is None:
            break
        axes = perm if axes is None else tuple(perm[a] for a in axes)
        tensor = node.input[0]
    return tensor, None if axes == tuple(range(len(axes or ()))) else axes
