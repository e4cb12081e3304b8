"""Indices that a comparison of values chooses: results of ArgMax, ArgMin and TopK.

Of two values that are equal up to rounding either may be the larger, and their indices may be any
two: an index between two others means nothing. So not the index is judged, but the value that it
points at. An index is right where its value, moved by rounding, can have the rank that it was
chosen for. Among values that do not round the standard decides (the first of equals).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes

_SAME = frozenset(
    ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"]
)  # fmt: skip
"""Operators behind which the indices are still there, in their order."""


@dataclass(frozen=True)
class ChosenIndices:
    """``count`` largest values of ``tensor`` along ``axis`` are chosen; smallest: ``sign`` -1.

    ``count`` is ``None`` where it is known from the result alone.
    """

    tensor: str
    axis: int
    sign: int
    count: int | None

    def admits(self, index: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Which indices may have been chosen; bool, of the shape of ``index``.

        Args:
            index: The tensor of indices, its axes perhaps regrouped.
            low: Of ``tensor``: the least that onnxruntime gives under moved roundings.
            high: The most.
        """
        axis = self.axis % low.ndim
        least, most = (np.moveaxis(v.astype(np.float64), axis, -1) for v in (low, high))
        if self.sign < 0:
            least, most = -most, -least
        lead, extent = least.shape[:-1], least.shape[-1]
        rows = int(np.prod(lead, dtype=np.int64))
        count = self.count if self.count is not None else index.size // max(rows, 1)
        none = np.zeros(index.shape, bool)
        if index.size != rows * count or index.dtype.kind not in "iuf" or extent == 0:
            return none
        whole = np.rint(index).astype(np.int64)
        if np.any(whole != index):
            return none
        shape = [*low.shape]
        shape[axis] = count
        chosen = np.moveaxis(whole.reshape(shape), axis, -1)
        inside = (chosen >= 0) & (chosen < extent)
        at = np.where(inside, chosen, 0)
        own = [np.take_along_axis(v, at, -1) for v in (least, most)]
        ranked = [-np.sort(-v, axis=-1)[..., :count] for v in (least, most)]
        twice = np.zeros(at.shape, bool)
        for place in range(1, count):
            twice[..., place] = np.any(at[..., :place] == at[..., place : place + 1], axis=-1)
        rounds = (own[0] < own[1]) | (ranked[0] < ranked[1])
        fits = (own[1] >= ranked[0]) & (own[0] <= ranked[1])
        right = inside & rounds & fits & ~twice
        return np.asarray(np.moveaxis(right, -1, axis).reshape(index.shape))


def choices(model: onnx.ModelProto, names: list[str]) -> dict[str, ChosenIndices]:
    """Those of the tensors ``names`` that hold chosen indices."""
    made = {name: node for node in model.graph.node for name in node.output}
    chosen = {}
    for name in names:
        source = name
        while source in made and made[source].op_type in _SAME and not made[source].domain:
            source = made[source].input[0]
        choice = _choice(made.get(source), source)
        if choice is not None:
            chosen[name] = choice
    return chosen


def _choice(node: onnx.NodeProto | None, name: str) -> ChosenIndices | None:
    if node is None or node.domain:
        return None
    given = attributes(node)
    if node.op_type in ("ArgMax", "ArgMin"):
        sign = 1 if node.op_type == "ArgMax" else -1
        return ChosenIndices(node.input[0], int(given.get("axis", 0)), sign, 1)
    if node.op_type == "TopK" and given.get("sorted", 1) and name in list(node.output)[1:]:
        sign = 1 if given.get("largest", 1) else -1
        return ChosenIndices(node.input[0], int(given.get("axis", -1)), sign, None)
    return None
