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
            found = self._combined(node, depth)
            return self._cut(tensor, node) if found is None and kind == "Clip" else found
        return None

    def _cut(self, tensor: str, node: onnx.NodeProto) -> np.ndarray | None:
        """Whole numbers between two bounds, and these."""
        at = self.graph.maker.get(node.input[0])
        limits = self._limits(tensor, 0)
        if at is None or self.graph.nodes[at].op_type not in ROUNDING or limits is None:
            return None
        low, high = limits
        if high - low > MOST:
            return None
        return _few(np.array([low, *np.arange(np.ceil(low), np.floor(high) + 1), high]))

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
        at = self.graph.maker.get(tensor)
        if at is None or depth > DEEPEST:
            return None
        node = self.graph.nodes[at]
        if node.op_type == "Clip":
            ends = [self.graph.constant(n) if n else None for n in node.input[1:3]]
            if len(ends) < 2 or ends[0] is None or ends[1] is None:
                return None
            return float(ends[0].reshape(())), float(ends[1].reshape(()))
        if node.op_type == "Softmax":
            return 0.0, 1.0
        if node.op_type in MOVED:
            return self._limits(node.input[0], depth + 1)
        if node.op_type not in ("Add", "Sub", "Mul", "Div"):
            return None
        held = [self.graph.constant(n) for n in node.input]
        which = 0 if held[1] is not None else 1
        other = held[1 - which]
        inner = self._limits(node.input[which], depth + 1)
        if other is None or inner is None or other.size == 0:
            return None
        corners = []
        for end in inner:
            single = np.asarray(end, np.float32)
            args = [single, other] if which == 0 else [other, single]
            corners.append(run(node, args, self.graph.opset, 1)[0])
        if not all(np.all(np.isfinite(c)) for c in corners):
            return None
        return float(min(c.min() for c in corners)), float(max(c.max() for c in corners))

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
