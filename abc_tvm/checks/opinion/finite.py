"""Tensors of the ONNX graph that take few values, found from the graph alone.

A step function that reads such a tensor may be anything between its values, so that these alone
are tried.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import onnx
from onnx import helper

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_ops import ELEMENTWISE, run
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.probes import Probes
from abc_tvm.checks.opinion.whole import TRUTHS

MOST = 1 << 10
MOST_COMBINED = 1 << 16
DEEPEST = 64

MOVED = frozenset({
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
AVERAGED = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
BOUNDS = frozenset({"Clip", "Max", "Min", "Relu"})
PLACES = frozenset({"ArgMax", "ArgMin"})
ROUNDING = frozenset({"Ceil", "Floor", "Round"})

AtomsOf = Callable[[str], KnownAtoms]


class Finite:
    """Looks the values of tensors up, each once; ``atoms`` says where a tensor's are."""

    def __init__(self, graph: OnnxGraph, atoms: AtomsOf) -> None:
        self.graph, self.atoms = graph, atoms
        self.known: dict[str, np.ndarray | None] = {}

    def of(self, tensor: str, depth: int = 0) -> np.ndarray | None:
        """Ascending values, or ``None``: many, or not known."""
        if tensor not in self.known:
            if depth > DEEPEST:
                return None
            self.known[tensor] = self._find(tensor, depth + 1)
        return self.known[tensor]

    def _find(self, tensor: str, depth: int) -> np.ndarray | None:
        stored = self.graph.constant(tensor)
        if stored is not None:
            return _few(stored)
        at = self.graph.maker.get(tensor)
        if at is None:
            return None
        node = self.graph.nodes[at]
        kind = node.op_type
        if kind in TRUTHS:
            return np.array([0.0, 1.0], np.float32)
        if kind in MOVED:
            return self.of(node.input[0], depth)
        if kind == "Pad":
            return self._padded(node, depth)
        if kind == "Concat":
            return self._together(list(node.input), depth)
        if kind == "Where":
            return self._together(list(node.input[1:]), depth)
        if kind in AVERAGED or kind == "ReduceSum":
            return self._averaged(node, tensor, depth)
        if kind in PLACES:
            return self._places(node)
        if kind == "Sign":
            inner = self.of(node.input[0], depth)
            if inner is not None:
                return _few(np.sign(inner))
            zero = self.atoms(node.input[0]).at(np.zeros(1, np.float32)).any()
            return np.array([-1.0, 0.0, 1.0] if zero else [-1.0, 1.0], np.float32)
        if kind in ROUNDING:
            return self._rounded(node, depth)
        if kind in ELEMENTWISE or kind == "Cast":
            combined = self._combined(node, depth)
            if combined is None and kind in BOUNDS:
                return self._bounded(node, depth)
            return combined
        return None

    def _together(self, names: list[str], depth: int) -> np.ndarray | None:
        parts = [self.of(name, depth) for name in names]
        known = [part for part in parts if part is not None]
        return _few(np.concatenate(known)) if len(known) == len(parts) else None

    def _padded(self, node: onnx.NodeProto, depth: int) -> np.ndarray | None:
        inner = self.of(node.input[0], depth)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if inner is None or attributes.get("mode", b"constant") != b"constant":
            return inner
        value = np.float32(attributes.get("value", 0.0))
        if len(node.input) > 2 and node.input[2]:
            stored = self.graph.constant(node.input[2])
            if stored is None:
                return None
            value = np.float32(stored.reshape(()))
        return _few(np.append(inner, value))

    def _rounded(self, node: onnx.NodeProto, depth: int) -> np.ndarray | None:
        inner = self.of(node.input[0], depth)
        if inner is not None:
            return _few(run(node, [inner], self.graph.opset, 1)[0])
        limits = self._limits(node.input[0], depth)
        if limits is None or limits[1] - limits[0] > MOST:
            return None
        return np.arange(np.floor(limits[0]), np.ceil(limits[1]) + 1).astype(np.float32)

    def _limits(self, tensor: str, depth: int) -> tuple[float, float] | None:
        """Least and largest value, where the tensor was clipped and scaled."""
        low, high = self._ends(tensor, depth)
        return (low, high) if np.isfinite(low) and np.isfinite(high) else None

    def _ends(self, tensor: str, depth: int) -> tuple[float, float]:
        """The same, infinite where there is none."""
        at = self.graph.maker.get(tensor)
        if at is None or depth > DEEPEST:
            return -np.inf, np.inf
        node = self.graph.nodes[at]
        if node.op_type in BOUNDS:
            inner, lower, upper = self._bounds(node)
            low, high = (-np.inf, np.inf) if inner is None else self._ends(inner, depth + 1)
            low, high = max(low, *lower), max(high, *lower)
            return min(low, *upper), min(high, *upper)
        if node.op_type in ROUNDING:
            low, high = self._ends(node.input[0], depth + 1)
            return float(np.floor(low)), float(np.ceil(high))
        if node.op_type == "Softmax":
            return 0.0, 1.0
        if node.op_type in MOVED:
            return self._ends(node.input[0], depth + 1)
        if node.op_type not in ("Add", "Sub", "Mul", "Div"):
            return -np.inf, np.inf
        held = [self.graph.constant(n) for n in node.input]
        which = 0 if held[1] is not None else 1
        other = held[1 - which]
        inner_ends = self._ends(node.input[which], depth + 1)
        if other is None or other.size == 0 or not np.all(np.isfinite(inner_ends)):
            return -np.inf, np.inf
        corners = []
        for end in inner_ends:
            single = np.asarray(end, np.float32)
            args = [single, other] if which == 0 else [other, single]
            corners.append(run(node, args, self.graph.opset, 1)[0])
        if not all(np.all(np.isfinite(c)) for c in corners):
            return -np.inf, np.inf
        return float(min(c.min() for c in corners)), float(max(c.max() for c in corners))

    def _bounds(self, node: onnx.NodeProto) -> tuple[str | None, list[float], list[float]]:
        """Of Clip, Max, Min and Relu: what is bounded, and by which numbers.

        Lower bounds hold before upper ones. ``None``: not one tensor alone, or no numbers.
        """
        kind = node.op_type
        if kind == "Relu":
            return node.input[0], [0.0, 0.0], [np.inf, np.inf]
        if kind == "Clip":
            held = [self.graph.constant(n) if n else None for n in node.input[1:3]]
            if any(n and h is None for n, h in zip(node.input[1:3], held, strict=True)):
                return None, [-np.inf] * 2, [np.inf] * 2
            ends = [-np.inf, np.inf]
            for k, array in enumerate(held):
                if array is not None and array.size == 1:
                    ends[k] = float(array.reshape(()))
            attributes = {a.name: a.f for a in node.attribute}
            low, high = attributes.get("min", ends[0]), attributes.get("max", ends[1])
            return node.input[0], [low, low], [high, high]
        open_ones = [n for n in node.input if self.graph.constant(n) is None]
        stored = [self.graph.constant(n) for n in node.input]
        numbers = [float(v) for a in stored if a is not None for v in np.unique(a)[:MOST]]
        if len(open_ones) != 1 or not numbers:
            return None, [-np.inf] * 2, [np.inf] * 2
        # One number for each channel: between the least and the largest anything may be a bound.
        ends = [min(numbers), max(numbers)]
        if kind == "Max":
            return open_ones[0], ends, [np.inf] * 2
        return open_ones[0], [-np.inf] * 2, ends

    def _bounded(self, node: onnx.NodeProto, depth: int) -> np.ndarray | None:
        """Whole numbers between bounds, and the bounds."""
        limits = self._limits(node.output[0], depth)
        numbers: list[float] = []
        at: onnx.NodeProto | None = node
        while at is not None and at.op_type in BOUNDS:
            inner, lower, upper = self._bounds(at)
            if inner is None or lower[0] != lower[1] or upper[0] != upper[1]:
                return None
            numbers += [lower[0], upper[0]]
            place = self.graph.maker.get(inner)
            at = None if place is None else self.graph.nodes[place]
        if at is None or at.op_type not in ROUNDING or limits is None:
            return None
        if limits[1] - limits[0] > MOST:
            return None
        whole = np.arange(np.ceil(limits[0]), np.floor(limits[1]) + 1)
        inside = [n for n in numbers if limits[0] <= n <= limits[1]]
        return _few(np.concatenate([whole, inside]))

    def _averaged(self, node: onnx.NodeProto, tensor: str, depth: int) -> np.ndarray | None:
        inner = self.of(node.input[0], depth)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if inner is None or len(inner) < 2:
            return None
        count = self._count(node, attributes)
        if count is None:
            return None
        steps = np.diff(inner.astype(np.float64))
        total = count * (len(inner) - 1)
        if np.any(np.abs(steps - steps[0]) > 1e-6 * np.abs(inner).max()) or total > MOST:
            return None
        sums = count * float(inner[0]) + steps[0] * np.arange(total + 1)
        return _few(sums if node.op_type == "ReduceSum" else sums / count)

    def _places(self, node: onnx.NodeProto) -> np.ndarray | None:
        """All places along the axis."""
        shape = self.graph.shape(node.input[0])
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        count = 0 if shape is None else int(shape[attributes.get("axis", 0)])
        return _few(np.arange(count)) if count else None

    def _count(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> int | None:
        """How many values are averaged, where it is the same number everywhere."""
        if node.op_type == "AveragePool":
            pads = any(attributes.get("pads", [])) or "auto_pad" in attributes
            if pads or attributes.get("ceil_mode"):
                return None
            return int(np.prod(attributes["kernel_shape"]))
        shape = self.graph.shape(node.input[0])
        axes = attributes.get("axes")
        if len(node.input) > 1 and node.input[1]:
            axes = self.graph.constant(node.input[1])
        if node.op_type == "GlobalAveragePool" and shape is not None:
            axes = range(2, len(shape))
        if shape is None or axes is None:
            return None
        return int(np.prod([shape[int(a)] for a in axes])) or None

    def _combined(self, node: onnx.NodeProto, depth: int) -> np.ndarray | None:
        sets: list[np.ndarray | None] = []
        size = 1
        for name in node.input:
            values = self.of(name, depth) if name else None
            if name and values is None:
                return None
            sets.append(values)
            size *= 1 if values is None else len(values)
        if size > MOST_COMBINED:
            return None
        rows = np.array(list(product(*(s for s in sets if s is not None))), np.float32).T
        columns = iter(rows)
        args = [None if s is None else next(columns) for s in sets]
        if node.op_type == "Clip":  # its bounds are single
            args = [args[0], *(None if a is None else a[:1].reshape(()) for a in args[1:])]
        try:
            return _few(run(node, args, self.graph.opset, 1)[0])
        except NotChecked:
            return None


def _few(values: np.ndarray) -> np.ndarray | None:
    if values.size > 1 << 22 or values.dtype.kind not in "biuf":
        return None
    kept = np.unique(values.astype(np.float32))
    return kept if len(kept) <= MOST and np.all(np.isfinite(kept)) else None


def of_values(values: np.ndarray, channels: int) -> Probes:
    """Probes that a tensor of these values can take."""
    rows = np.repeat(np.asarray(values, np.float32)[:, None], channels, 1)
    return Probes(rows, rows[0])
