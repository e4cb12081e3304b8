"""Convolutions and dense layers of the ONNX graph, and sums of them that became one layer.

A layer goes by the name that ``abc_tvm.layer_names`` gives it. Layers that are missing in the
compiled module were joined into another one, by linearity: the first tensor that depends on both
is, as a function of their outputs, ``sum of coefficients * outputs + bias``. The coefficients are
measured, by computing the graph between them on unit vectors in float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from abc_tvm.checks.onnx_graph import OnnxGraph
from abc_tvm.checks.onnx_ops import NotChecked
from abc_tvm.checks.windows import onnx_pads

LINEAR = frozenset(
    "Add BatchNormalization Concat Div Identity Mul Neg ReduceMean ReduceSum Reshape Squeeze Sub "
    "Sum Transpose Unsqueeze".split()
)


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
    def data(self) -> str:
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        return str(self.node.output[0])

    @property
    def dense(self) -> bool:
        return self.weight.ndim == 2

    def geometry(self, size: tuple[int, int]) -> dict[str, Any]:
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
        bias = np.broadcast_to(bias * np.float32(attributes.get("beta", 1.0)), len(weight))
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

    def from_relax(self, values: Iterable[np.ndarray]) -> np.ndarray:
        """The tensor, of the outputs of the layers that the compiled module has for it."""
        total: Any = None
        for value in values:
            total = value if total is None else total + value
        if np.any(self.bias):
            total = total + self.bias.astype(np.float32)
        if self.layers[0].dense:
            return np.asarray(total.reshape(total.shape[0], total.shape[-1]))
        return np.asarray(total.transpose(0, 3, 1, 2))


def joined(graph: OnnxGraph, layers: dict[str, OnnxLayer], present: set[str]) -> dict[str, Joined]:
    """By the name of the layer that took them in: the layers that were joined.

    ``layers`` are all of the graph, ``present`` the names that the compiled module still has.
    """
    missing = [name for name in layers if name not in present]
    if not missing:
        return {}
    behind, first = _behind(graph, layers), {}
    for name in missing:
        for tensor, found in behind.items():
            kept = found & present
            if name in found and kept:
                if len(kept) == 1:
                    first.setdefault(next(iter(kept)), []).append(name)
                break
    result: dict[str, Joined] = {}
    for name, others in first.items():
        wanted = {name, *others}
        tensor = next((t for t, found in behind.items() if found >= wanted), None)
        if tensor is not None and behind[tensor] & present == {name}:
            members = tuple(layers[n] for n in layers if n in behind[tensor])
            result[name] = _measured(graph, tensor, members)
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
        variable = [n for n in node.input if n and graph.constant(n) is None]
        if not variable or any(n not in behind for n in variable):
            continue
        if node.op_type in ("Mul", "Div") and (len(variable) > 1 or node.input[0] not in behind):
            if len(variable) > 1 or node.op_type == "Div":
                continue
        behind[node.output[0]] = set().union(*(behind[n] for n in variable))
    return behind


def _measured(graph: OnnxGraph, tensor: str, layers: tuple[OnnxLayer, ...]) -> Joined:
    channels = {len(layer.weight) for layer in layers}
    if len(channels) != 1:
        raise NotChecked("layers of different widths were joined")
    count, width = len(layers), channels.pop()
    # One image a unit vector, the last one for the bias alone.
    given = {}
    for i, layer in enumerate(layers):
        value = np.zeros((count + 1, width))
        value[i] = 1
        if layer.bias is not None:
            value = value + layer.bias
        given[layer.output] = value if layer.dense else value[:, :, None, None]
    found = graph.evaluate([tensor], given, images=count + 1)[tensor]
    if found.dtype != np.float64 or found.size != (count + 1) * width:
        raise NotChecked("a sum of layers that is no linear form")
    found = found.reshape(count + 1, width)
    return Joined(tensor, layers, found[:-1] - found[-1], found[-1])
