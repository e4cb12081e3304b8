"""Integers between a quantizer and what reads its numbers, carried as the floats that they are.

A float32 that is a whole number within the range of an integer type is the same number there, and
back again. So of every tensor of integers that is a Cast of such a float, the float is remembered,
and what reads the integers reads it:

1. A Cast to float32 is the float itself; one to another integer type that holds them all changes
   nothing.
2. Operators that only move values, MaxPool, Clip, Max, Min, Relu and Where are computed on floats,
   and so are Add, Sub and Mul, where no sum can be larger than a float32 holds exactly.
3. Comparisons are of floats.

The integers are computed where the network gives them away, or where an operator reads them that
is none of these.

Whole, in known bounds, are: Round, Floor and Ceil; Clip, Relu, Max, Min, Where, MaxPool, moves,
sums and products of whole numbers; stored whole numbers; a Cast of integers; a convolution or
product of matrices with stored whole weights whose sums are below 2^24.

Example: ``Cast(Clip(Cast(Clip(Round(x), -128, 127), int8), -2, 1), float)`` becomes
``Clip(Clip(Round(x), -128, 127), -2, 1)``.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto

from abc_tvm.frontend.graph_edit import Array, GraphEditor, attributes
from abc_tvm.frontend.onnx_file import opset_of
from abc_tvm.frontend.operators.linear_quantization import RANGES

LARGEST = 2.0**24
"""Whole numbers up to here are float32s, each of them."""

Bounds = tuple[float, float]
"""Least and largest value; infinite where nothing is known."""

_INTEGERS = {**RANGES, TensorProto.INT32: (-(2**31), 2**31 - 1)}
_ALL = (-math.inf, math.inf)
_ONE_MOVED = frozenset(
    [
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Pad",
        "Relu",
        "Resize",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    ]
)
"""Operators that move their first tensor's values, or some of them."""

_SEVERAL = frozenset(["Add", "Clip", "Concat", "Max", "Min", "Mul", "Sub"])
_COMPARISONS = frozenset(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
_ROUNDINGS = frozenset(["Ceil", "Floor", "Round"])
_LAYERS = frozenset(["Conv", "Gemm", "MatMul"])


def read_as_floats(model: onnx.ModelProto, label: str = "model") -> bool:
    """Rewrite, in place, what reads integers that are Casts of whole floats; whether any does."""
    if not any(_to(node) in _INTEGERS for node in model.graph.node):
        return False
    reading = _Reading(model, label)
    for node in model.graph.node:
        reading.visit(node)
    if reading.changed:
        nodes = list(reading.edit.nodes)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return reading.changed


class _Reading:
    """``floats``: by a tensor of integers, the whole float32 one that it is a Cast of, and its
    type. ``bounds``: of whole float32 tensors. ``inputs``: element types of the network's."""

    def __init__(self, model: onnx.ModelProto, label: str) -> None:
        self.edit = GraphEditor(model, label)
        self.opset = opset_of(model)
        self.floats: dict[str, tuple[str, int]] = {}
        self.bounds: dict[str, Bounds] = {}
        self.renamed: dict[str, str] = {}
        self.inputs = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
        self.outputs = {value.name for value in model.graph.output}
        self.changed = False

    def visit(self, node: onnx.NodeProto) -> None:
        for i, name in enumerate(node.input):
            node.input[i] = self.renamed.get(name, name)
        if node.domain or not (self.cast(node) or self.on_floats(node)):
            self.edit.nodes.append(node)
            if not node.domain and len(node.output) == 1:
                self.note(node)

    def note(self, node: onnx.NodeProto) -> None:
        """Remember the result of a node that stays, if it is whole."""
        to = _to(node)
        if to in _INTEGERS:
            held = self.whole(node.input[0])
            if held is not None and _within(held, _INTEGERS[to]):
                self.floats[node.output[0]] = node.input[0], to
        else:
            bounds = self.of(node)
            if bounds is not None:
                self.bounds[node.output[0]] = bounds

    def cast(self, node: onnx.NodeProto) -> bool:
        """Case 1."""
        to = _to(node)
        if to is None or node.input[0] not in self.floats:
            return False
        source, _ = self.floats[node.input[0]]
        out = node.output[0]
        if to == TensorProto.FLOAT:
            self.changed = True
            if out in self.outputs:
                self.edit.op(node, "Identity", source, out=out)
            else:
                self.renamed[out] = source
            return True
        if to not in _INTEGERS or not _within(self.bounds[source], _INTEGERS[to]):
            return False
        self.integers(node, source, out, to)
        return True

    def on_floats(self, node: onnx.NodeProto) -> bool:
        """Cases 2 and 3."""
        name = node.op_type
        data = self.data(node)
        read = [node.input[i] for i in data if node.input[i]]
        kinds = {self.floats[n][1] for n in read if n in self.floats}
        if len(kinds) != 1 or any(n not in self.floats and not self.storable(n) for n in read):
            return False
        kind = kinds.pop()
        fresh = onnx.NodeProto()
        fresh.CopyFrom(node)
        fresh.name = f"{node.name or node.output[0]}/float"
        for i in data:
            if node.input[i]:
                fresh.input[i] = self.as_float(node.input[i])
        if name in _COMPARISONS:
            fresh.name = node.name
            self.edit.nodes.append(fresh)
            self.changed = True
            return True
        bounds = self.of(fresh)
        if bounds is None or not _within(bounds, _INTEGERS[kind]) or not _within(bounds, _EXACT):
            return False
        outs = [self.edit.fresh(f"{out}/float") if out else "" for out in node.output]
        del fresh.output[:]
        fresh.output.extend(outs)
        self.edit.nodes.append(fresh)
        for out, old in zip(outs, node.output, strict=True):
            if out:
                self.bounds[out] = bounds
                self.integers(node, out, old, kind)
        return True

    def data(self, node: onnx.NodeProto) -> list[int]:
        """Which inputs of an operator of cases 2 and 3 are its numbers; none of another one."""
        name, count = node.op_type, len(node.input)
        if name in _SEVERAL | _COMPARISONS:
            return list(range(count))
        if name == "Where":
            return [1, 2]
        if name == "MaxPool" and len(node.output) > 1 and node.output[1]:
            return []
        if name in ("Resize", "Upsample") and attributes(node).get("mode", "nearest") != "nearest":
            return []
        if name == "Pad":
            return [] if self.opset < 11 else [0, 2][: 1 + (count > 2)]
        return [0] if name in _ONE_MOVED else []

    def integers(self, node: onnx.NodeProto, source: str, out: str, kind: int) -> None:
        self.edit.op(node, "Cast", source, out=out, to=kind)
        self.floats[out] = source, kind
        self.changed = True

    def storable(self, name: str) -> bool:
        """Whether ``name`` is a stored tensor of integers that floats hold."""
        value = self.edit.value(name)
        return value is not None and _is_whole(value)

    def as_float(self, name: str) -> str:
        if name in self.floats:
            return self.floats[name][0]
        value = np.asarray(self.edit.value(name)).astype(np.float32)
        return self.edit.constant(value, f"{name}/float")

    def whole(self, name: str) -> Bounds | None:
        """Bounds of a whole float32 tensor; None of another one."""
        if name not in self.bounds:
            value = self.edit.value(name)
            if value is None or value.dtype != np.float32 or not _is_whole(value):
                return None
            if value.size == 0:
                return None
            self.bounds[name] = float(value.min()), float(value.max())
        return self.bounds[name]

    def of(self, node: onnx.NodeProto) -> Bounds | None:
        """Bounds of the float32 result of a node, if it is whole."""
        name = node.op_type
        if name in _ROUNDINGS:
            return self.whole(node.input[0]) or _ALL
        if name == "Cast":
            kind = self.inputs.get(node.input[0], 0) if _to(node) == TensorProto.FLOAT else 0
            return RANGES.get(kind)
        if name in _LAYERS:
            return self.sums(node)
        data = self.data(node)
        parts = [self.whole(node.input[i]) for i in data if node.input[i]]
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        lows, highs = zip(*known, strict=True)
        match name:
            case "Clip":
                if self.opset < 11:
                    ends = attributes(node)
                    low, high = float(ends.get("min", -math.inf)), float(ends.get("max", math.inf))
                    whole = all(math.isinf(v) or v.is_integer() for v in (low, high))
                    return _clip(known[0], low, high) if whole else None
                bounds = iter(known[1:])
                present = [bool(n) for n in [*node.input[1:], "", ""][:2]]
                low = next(bounds)[0] if present[0] else -math.inf
                high = next(bounds)[1] if present[1] else math.inf
                return _clip(known[0], low, high)
            case "Relu":
                return _clip(known[0], 0.0, math.inf)
            case "Max":
                return max(lows), max(highs)
            case "Min":
                return min(lows), min(highs)
            case "Add":
                return _known(sum(lows), sum(highs))
            case "Sub":
                return _known(lows[0] - highs[1], highs[0] - lows[1])
            case "Mul":
                corners = [a * b for a in known[0] for b in known[1]]
                return _known(min(corners), max(corners))
            case "Pad":
                fills = known[1:] or [(0.0, 0.0)]
                constant = attributes(node).get("mode", "constant") == "constant"
                padded = [known[0], *fills] if constant else known[:1]
                return min(a for a, _ in padded), max(b for _, b in padded)
        return min(lows), max(highs)

    def sums(self, node: onnx.NodeProto) -> Bounds | None:
        """Bounds of a layer whose weights are stored whole numbers, where they are exact."""
        data, weight = self.whole(node.input[0]), self.edit.value(node.input[1])
        if data is None or weight is None or self.whole(node.input[1]) is None:
            return None
        if (len(node.input) > 2 and node.input[2]) or weight.ndim < 2:
            return None
        attrs = attributes(node)
        if attrs.get("alpha", 1.0) != 1.0 or attrs.get("transA", 0):
            return None
        size = np.abs(weight.astype(np.float64))
        if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attrs.get("transB")):
            total = size.sum(-2)
        else:
            total = size.reshape(len(size), -1).sum(1)
        most = max(map(abs, data)) * float(total.max(initial=0))
        return (-most, most) if most < LARGEST else None


_EXACT = (-LARGEST, LARGEST)


def _to(node: onnx.NodeProto) -> int | None:
    """The type that a Cast is to."""
    if node.op_type != "Cast" or node.domain:
        return None
    return int(next(a.i for a in node.attribute if a.name == "to"))


def _is_whole(value: Array) -> bool:
    """Whether all numbers are whole, and float32 holds each of them."""
    if value.dtype.kind in "OSUVbc":
        return False
    real = value.astype(np.float64)
    return bool(np.all(np.abs(real) <= LARGEST) and np.all(np.rint(real) == real))


def _within(bounds: Bounds, limits: tuple[float, float]) -> bool:
    return limits[0] <= bounds[0] and bounds[1] <= limits[1]


def _clip(bounds: Bounds, low: float, high: float) -> Bounds:
    return min(max(bounds[0], low), high), min(max(bounds[1], low), high)


def _known(low: float, high: float) -> Bounds:
    return _ALL if math.isnan(low) or math.isnan(high) else (low, high)
