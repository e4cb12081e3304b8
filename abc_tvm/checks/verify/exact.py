"""Which values of a network cannot round, whatever order an engine adds them in."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, prod

import numpy as np
import onnx
from onnx import helper, shape_inference

from abc_tvm.frontend.graph_edit import attributes

Arrays = Mapping[str, np.ndarray]

_KEEPS = frozenset(
    ["Abs", "Cast", "CastLike", "Clip", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten",
     "Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "Max", "MaxPool", "Min",
     "Neg", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "SpaceToDepth", "Split",
     "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where"]
)  # fmt: skip
"""Operators whose results are among their inputs, or one of these with its sign turned."""

_WHOLE = frozenset(
    ["And", "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "IsInf",
     "IsNaN", "Less", "LessOrEqual", "NonZero", "Not", "OneHot", "Or", "Round", "Shape", "Sign",
     "Size", "Xor"]
)  # fmt: skip
"""Operators whose results are whole numbers."""

SUMS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])
AVERAGES = frozenset(["AveragePool", "GlobalAveragePool", "ReduceMean"])
RESIZES = frozenset(["Resize", "Upsample"])


class Exact:
    """Which tensors are sums that no order of addition rounds.

    A tensor on a grid is known by ``(k, size)``: all its values are multiples of ``2^-k`` and at
    most ``size``. Sums below ``2^24`` steps of the grid are exact in float32.
    """

    def __init__(
        self,
        arrays: Arrays,
        constants: Arrays,
        kinds: Mapping[str, int],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._constants, self._kinds, self._shapes = constants, kinds, shapes
        self._grids = {name: grid(array) for name, array in arrays.items()}
        self._varies = set(arrays)

    def unknown(self, node: onnx.NodeProto) -> None:
        """Take note of an operator that nothing is known about."""
        self._varies.update(node.output)

    def rounds(self, node: onnx.NodeProto) -> bool:
        """Whether a node rounds what depends on the input; nodes come in their order."""
        if node.op_type in ("Shape", "Size") or not self._varies.intersection(node.input):
            return False
        self._varies.update(node.output)
        result = self._result(node)
        if result is not None and result[1] * 2.0 ** result[0] > 2**24:
            result = None
        self._grids.update(dict.fromkeys(node.output, result))
        keeps = node.op_type in _KEEPS or _is_nearest(node)
        quiet = keeps or node.op_type in _WHOLE or result is not None
        return not quiet and self._kinds.get(node.output[0]) == onnx.TensorProto.FLOAT

    def _grid(self, name: str) -> tuple[int, float] | None:
        if name not in self._grids and name in self._constants:
            self._grids[name] = grid(self._constants[name])
        return self._grids.get(name)

    def _result(self, node: onnx.NodeProto) -> tuple[int, float] | None:
        kind = node.op_type
        if kind in _WHOLE:
            bound = self._grid(node.input[0]) if kind in ("Round", "Floor", "Ceil") else (0, 1.0)
            return None if bound is None else (0, bound[1] + 1)
        names = [n for n in node.input if n]
        if kind in ("Clip", "Max", "Min", "Where", "Pad", "Concat", "Add", "Sub", "Sum", "Mul"):
            names = names[1:] if kind == "Where" else names
        elif kind in SUMS:
            return self._sum(node)
        elif kind in _KEEPS or _is_nearest(node):
            names = names[:1]
        elif kind == "Pow":
            return self._power(node)
        elif kind in RESIZES or kind in AVERAGES or kind == "ReduceSum":
            return self._weighted(node)
        else:
            return None
        if kind == "Pad":
            names = [names[0], *names[2:3]]
        grids = [self._grid(n) for n in names]
        known = [g for g in grids if g is not None]
        if not known or len(known) < len(grids):
            return None
        powers, sizes = [k for k, _ in known], [size for _, size in known]
        if kind == "Mul":
            return sum(powers), prod(sizes)
        return max(powers), sum(sizes) if kind in ("Add", "Sub", "Sum") else max(sizes)

    def _power(self, node: onnx.NodeProto) -> tuple[int, float] | None:
        base, exponent = self._grid(node.input[0]), self._constants.get(node.input[1])
        if base is None or exponent is None or exponent.size != 1:
            return None
        times = float(exponent.reshape(()))
        if times not in (1, 2, 3, 4):
            return None
        return base[0] * int(times), base[1] ** times

    def _weighted(self, node: onnx.NodeProto) -> tuple[int, float] | None:
        """A sum of one tensor's values with weights that are multiples of a power of two."""
        values = self._grid(node.input[0])
        if values is None:
            return None
        if node.op_type in RESIZES:
            bits = self._places(node)
            return None if bits is None else (values[0] + bits, values[1])
        count = reduced(node, self._constants, self._shapes)
        if count is None:
            return None
        if node.op_type == "ReduceSum":
            return values[0], values[1] * count
        part = log2(count)
        # The sum is below 2^24 steps as well.
        return (values[0] + int(part), values[1]) if part.is_integer() else None

    def _places(self, node: onnx.NodeProto) -> int | None:
        """Bits behind the point of the weights of a linear Resize, where they are so short."""
        given = attributes(node)
        kind = given.get("coordinate_transformation_mode", "half_pixel")
        plain = kind in ("half_pixel", "pytorch_half_pixel", "asymmetric")
        if not plain or given.get("mode") != "linear" or given.get("antialias"):
            return None
        before, after = (self._shapes.get(n) for n in (node.input[0], node.output[0]))
        if before is None or after is None:
            return None
        scales = self._constants.get(node.input[-1])
        if scales is None or scales.dtype.kind != "f" or len(scales) != len(before):
            scales = np.divide(after, before)
        steps = [log2(float(s)) for s in scales if s > 0 and s != 1]
        if any(not step.is_integer() for step in steps):
            return None
        return sum(int(max(step, 0)) + 1 for step in steps)

    def _sum(self, node: onnx.NodeProto) -> tuple[int, float] | None:
        weight = self._constants.get(node.input[1])
        grids = [self._grid(n) for n in node.input if n]
        known = [g for g in grids if g is not None]
        if weight is None or len(known) < len(grids) or weight.ndim < 2:
            return None
        if node.op_type == "Gemm" and {"alpha", "beta"} & set(attributes(node)):
            return None
        conv = node.op_type in ("Conv", "ConvTranspose")
        turned = node.op_type == "Gemm" and attributes(node).get("transB", 0)
        rest = tuple(range(1, weight.ndim)) if conv else (1 if turned else -2,)
        if node.op_type == "ConvTranspose":
            groups = int(attributes(node).get("group", 1))
            weight = np.concatenate(np.split(weight, groups), axis=1).swapaxes(0, 1)
        total = float(np.abs(weight).sum(rest, dtype=np.float64).max(initial=0))
        bias = known[2] if len(known) > 2 else (0, 0.0)
        power = max(known[0][0] + known[1][0], bias[0])
        return power, total * known[0][1] + bias[1]


def grid(array: np.ndarray) -> tuple[int, float] | None:
    """``(k, size)`` of an array whose values are multiples of ``2^-k``, with k up to 12."""
    if array.dtype.kind in "biu":
        return 0, float(np.abs(array.astype(np.float64)).max(initial=0))
    if array.dtype.kind != "f" or not np.all(np.isfinite(array)):
        return None
    sample = array.reshape(-1)[:1024].astype(np.float64)
    for power in range(13):
        if np.all(np.rint(sample * 2**power) == sample * 2**power):
            wide = array * np.asarray(2**power, array.dtype)
            if np.all(np.rint(wide) == wide):
                return power, float(np.abs(array).max(initial=0))
    return None


def _is_nearest(node: onnx.NodeProto) -> bool:
    """Whether an operator is a Resize whose results are values of its input."""
    return node.op_type in RESIZES and attributes(node).get("mode", "nearest") == "nearest"


def reduced(
    node: onnx.NodeProto, constants: Arrays, shapes: Mapping[str, tuple[int, ...]]
) -> int | None:
    """How many values a mean or a sum adds up, where it is the same number everywhere."""
    given, dims = attributes(node), shapes.get(node.input[0])
    if node.op_type == "AveragePool":
        padded = any(given.get("pads", ())) or str(given.get("auto_pad", "NOTSET")) != "NOTSET"
        if given.get("ceil_mode") or (padded and not given.get("count_include_pad")):
            return None
        return prod(int(n) for n in given["kernel_shape"])
    if dims is None:
        return None
    if node.op_type == "GlobalAveragePool":
        return prod(dims[2:])
    axes = given.get("axes")
    if len(node.input) > 1 and node.input[1]:
        stored = constants.get(node.input[1])
        if stored is None:
            return None
        axes = stored.reshape(-1).tolist()
    if not axes and given.get("noop_with_empty_axes"):
        return 1
    return prod(dims[int(a)] for a in axes) if axes else prod(dims)


def inferred(
    model: onnx.ModelProto, arrays: Arrays
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Element types and shapes of tensors, where they can be told for these inputs."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in arrays:
            array = arrays[value.name]
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, list(array.shape)))
    for value in fixed.graph.output:  # shapes that the file declares may name an open batch
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    try:
        fixed = shape_inference.infer_shapes(fixed, data_prop=True)
    except (shape_inference.InferenceError, ValueError):
        return {}, {}
    graph = fixed.graph
    kinds: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        if not value.type.HasField("tensor_type"):
            continue
        tensor = value.type.tensor_type
        kinds[value.name] = tensor.elem_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = tuple(int(d.dim_value) for d in tensor.shape.dim)
    return kinds, shapes
