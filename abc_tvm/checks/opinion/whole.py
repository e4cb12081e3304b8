"""Tensors that hold whole numbers alone, because truths or integers made them.

Between whole numbers such a tensor has no value, and a step that reads it may be anything there.
"""

from __future__ import annotations

import numpy as np
import onnx

from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.opinion.probes import Probes

TRUTHS = frozenset({
    "And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not",
    "Or", "Xor",
})  # fmt: skip

MOVING = frozenset({
    "Cast", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators whose results are values of their first input."""

FARTHEST = 2.0**31


def range_of(graph: OnnxGraph, tensor: str) -> tuple[float, float] | None:
    """Least and largest value of a tensor of whole numbers; ``None`` if it may hold others."""
    while True:
        kind = graph.types.get(tensor)
        if kind == onnx.TensorProto.BOOL:
            return 0.0, 1.0
        if kind is not None:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
            if dtype.kind not in "iu":
                return None
            limits = np.iinfo(dtype)
            return max(-FARTHEST, float(limits.min)), min(FARTHEST, float(limits.max))
        at = graph.maker.get(tensor)
        if at is None:
            return None
        node = graph.nodes[at]
        if node.op_type in TRUTHS:
            return 0.0, 1.0
        if node.op_type not in MOVING:
            return None
        tensor = node.input[0]


def rounded(probes: Probes, limits: tuple[float, float]) -> Probes:
    """Probes that a tensor of whole numbers can take."""
    low, high = limits

    def whole(values: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(values), low, high).astype(values.dtype)

    return Probes(whole(probes.values), whole(probes.neutral))
