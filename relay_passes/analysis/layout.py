"""How a tensor of the imported graph lies in the NHWC graph.

Transposes cost nothing this way: a value remembers how it is to be read, and only operators that
need the old layout make it real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.rewrite import shape_of

TO_NHWC = [0, 2, 3, 1]
TO_NCHW = [0, 3, 1, 2]

Shape = tuple[int | relax.Expr, ...]
"""Extents of a tensor: numbers, and an expression where the batch is open."""

Kind = Literal["plain", "nhwc", "row", "dense", "flat_chw", "flat_hwc"]
"""How the graph's own tensor is read from the one that is there.

``plain``: as it is. ``nhwc``: the graph has NCHW, there is NHWC. ``row``: the graph has
``[B, C, W]``, there is ``[B, 1, W, C]``. ``dense``: the graph has ``[B, F]``, there is
``[B, 1, 1, F]``. ``flat_chw`` and ``flat_hwc``: the graph has ``[B, F]``, flattened in that order,
there is NHWC.
"""


@dataclass(frozen=True)
class Placed:
    """A tensor that is there; ``native`` marks a plain one that is NHWC in the graph as well."""

    expr: relax.Expr
    kind: Kind = "plain"
    native: bool = False


@dataclass(frozen=True)
class Stacked:
    """Slices along an extra axis, kept apart: stacked bases become single ones.

    The graph's own tensor has ``rank`` dimensions, of which ``axis`` is the extra one. ``carried``:
    it has one less, because that axis and the batch, the first two, were joined to one.
    """

    slices: tuple[Placed, ...]
    axis: int
    rank: int = 5
    carried: bool = False


Value = Placed | Stacked


def graph_rank(value: Placed) -> int:
    """Number of dimensions that the tensor has in the graph, whatever its layout here."""
    if value.kind == "plain":
        return len(shape_of(value.expr))
    return {"nhwc": 4, "row": 3}.get(value.kind, 2)


def graph_shape(value: Placed) -> Shape:
    """Extents that the tensor has in the graph, whatever its layout here."""
    dims = shape_of(value.expr)
    if value.kind == "plain":
        return dims
    batch, height, width, channels = dims
    if value.kind == "nhwc":
        return batch, channels, height, width
    if value.kind == "row":
        return batch, channels, width
    sizes = [d for d in dims[1:] if isinstance(d, int)]
    return batch, prod(sizes)


def flattened(value: Placed) -> Placed:
    """The rank-2 flattening of a rank-4 value."""
    dims = shape_of(value.expr)
    if value.kind == "nhwc":
        one = dims[1] == 1 and dims[2] == 1
        return Placed(value.expr, "dense" if one else "flat_chw")
    return Placed(value.expr, "flat_hwc")


def is_flatten(old: Shape, new: Shape) -> bool:
    """Whether a reshape from ``old`` to ``new`` joins all but the batch dimension."""
    if len(old) != 4 or len(new) != 2 or not isinstance(new[1], int):
        return False
    sizes = [d for d in old[1:] if isinstance(d, int)]
    return len(sizes) == 3 and prod(sizes) == new[1]


def same_shape(a: Shape, b: Shape) -> bool:
    """Whether two shapes are equal, symbolic dimensions by name."""
    return len(a) == len(b) and all(
        (x == y) if isinstance(x, int) and isinstance(y, int) else str(x) == str(y)
        for x, y in zip(a, b, strict=True)
    )


def place_constant(array: np.ndarray, kind: Kind, like: Shape) -> np.ndarray:
    """A constant that the graph broadcasts, moved to the layout of ``kind``.

    ``like``: shape, in that layout, of the tensor that it meets; asked for the flattened kinds.
    """
    if array.ndim == 0 or array.size == 1:
        return array.reshape(())
    if kind == "nhwc":
        return widened(array, 4).transpose(TO_NHWC)
    if kind == "row":
        return np.expand_dims(widened(array, 3).transpose(0, 2, 1), 1)
    full = widened(array, 2)
    if kind == "dense":
        return full.reshape(full.shape[0], 1, 1, full.shape[1])
    _, h, w, c = like
    if kind == "flat_chw":
        return full.reshape(full.shape[0], c, h, w).transpose(TO_NHWC)
    return full.reshape(full.shape[0], h, w, c)


def narrowed(array: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """A constant without the repetitions that broadcasting makes, too.

    ``shapes``: of the tensors that it meets. An axis along which it is the same everywhere becomes
    one element where one of them is as long; so ``bias.expand_as(x)`` stays as long as the bias.
    """
    if sum(extent > 1 for extent in array.shape) < 2:
        return array  # one number for each channel stays, be they equal
    for axis in range(-array.ndim, 0):
        extent = array.shape[axis]
        there = any(len(s) >= -axis and s[axis] == extent for s in shapes)
        if extent > 1 and there and _repeats(array, axis):
            array = array.take([0], axis)
    return array


def _repeats(array: np.ndarray, axis: int) -> bool:
    """Whether an array holds the same bits all along an axis."""
    first, last = (array.take([at], axis) for at in (0, -1))
    if first.tobytes() != last.tobytes():
        return False
    return np.array_equal(
        np.ascontiguousarray(array).view(f"u{array.itemsize}"),
        np.broadcast_to(np.ascontiguousarray(first).view(f"u{array.itemsize}"), array.shape),
    )


def widened(array: np.ndarray, rank: int) -> np.ndarray:
    """``array`` with leading dimensions of 1, as it broadcasts in a tensor of ``rank``."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)
