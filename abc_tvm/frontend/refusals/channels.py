"""Weights that contradict their node: groups, channels, kernel and bias.

ONNX's checker compares few of these, and importers fewer: a bias that is too short would be read
beyond its end, and a group too many leaves channels out.
"""

from __future__ import annotations

import onnx

from abc_tvm.errors import ModelError
from abc_tvm.frontend.graph_edit import Attributes, attributes, describe
from abc_tvm.frontend.inferred import Dims

_PER_CHANNEL = {"BatchNormalization": 1, "InstanceNormalization": 1}
"""Operators whose inputs after the first are one number for each channel of that axis."""


def check_channels(model: onnx.ModelProto, dims: Dims, label: str) -> None:
    """Refuse nodes whose stored tensors do not fit together.

    Raises:
        ModelError: With the node's name and the numbers that differ.
    """
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        why = None
        if node.op_type in ("Conv", "ConvTranspose"):
            why = _convolution(node, dims)
        elif node.op_type in _PER_CHANNEL:
            why = _normalization(node, dims)
        elif node.op_type == "PRelu":
            why = _slope(node, dims)
        if why is not None:
            raise ModelError(f"{label}: {describe(node)}: {why}; export the model again")


def _slope(node: onnx.NodeProto, dims: Dims) -> str | None:
    """PRelu's slope takes the shape of its input; checkers do not look at it."""
    data, slope = dims[node.input[0]], dims[node.input[1]]
    if data is None or slope is None:
        return None
    pairs = zip(reversed(slope), reversed(data), strict=False)
    if len(slope) > len(data) or any(s not in (1, d, None) and d is not None for s, d in pairs):
        return f"the slope has the shape {list(slope)}, and the input {list(data)}"
    return None


def _convolution(node: onnx.NodeProto, dims: Dims) -> str | None:
    attrs: Attributes = attributes(node)
    group = attrs.get("group", 1)
    if not isinstance(group, int) or group < 1:
        return f"group is {group!r}"
    data, weight = dims[node.input[0]], dims[node.input[1]]
    if weight is None:
        return None
    spatial = len(weight) - 2
    if spatial < 1:
        return f"the weights have {len(weight)} dimensions"
    if data is not None and len(data) != len(weight):
        return f"the input has {len(data)} dimensions, and the weights {len(weight)}"
    if any(extent == 0 for extent in weight):
        return f"the weights {list(weight)} are empty"
    kernel = attrs.get("kernel_shape")
    if kernel is not None and None not in weight and tuple(kernel) != weight[2:]:
        return f"kernel_shape is {list(kernel)}, and the weights are {list(weight)}"
    for name, count in (("strides", 1), ("dilations", 1), ("pads", 2)):
        values = attrs.get(name)
        if values is not None and len(values) != count * spatial:
            return f"{name} has {len(values)} numbers for {spatial} axes"
        if values is not None and name != "pads" and min(values, default=1) < 1:
            return f"{name} is {list(values)}"
    transposed = node.op_type == "ConvTranspose"
    inner, outer = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    channels = None if data is None else data[1]
    if inner is not None and channels is not None:
        wanted = inner if transposed else inner * group
        if channels != wanted:
            return (
                f"the input has {channels} channels, and weights {list(weight)} in {group} "
                f"group(s) take {wanted}"
            )
    split = inner if transposed else outer
    if split is not None and split % group:
        return f"{split} channels cannot be split into {group} groups"
    results = None if outer is None else outer * group if transposed else outer
    return _bias(node, dims, results)


def _bias(node: onnx.NodeProto, dims: Dims, results: int | None) -> str | None:
    if len(node.input) < 3 or not node.input[2] or results is None:
        return None
    bias = dims[node.input[2]]
    if bias is not None and None not in bias and bias != (results,):
        return f"the bias is {list(bias)} for {results} channels"
    return None


def _normalization(node: onnx.NodeProto, dims: Dims) -> str | None:
    data = dims[node.input[0]]
    if data is None or len(data) < 2 or data[1] is None:
        return None
    for name in node.input[1:]:
        shape = dims[name]
        if shape is not None and None not in shape and shape != (data[1],):
            return f"{name!r} is {list(shape)} for {data[1]} channels"
    return None
