"""Where a tensor of the imported graph lies in the NHWC graph.

Transposes cost nothing this way: a value remembers how it is to be read, and only operators that
need the old layout make it real.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.rewrite import constant, emit, shape_of

TO_NHWC = [0, 2, 3, 1]
TO_NCHW = [0, 3, 1, 2]


@dataclass(frozen=True)
class Placed:
    """``expr`` and how the graph's own tensor reads it.

    ``plain``: as it is. ``nhwc``: graph has NCHW, ``expr`` is NHWC. ``dense``: graph has
    ``[B, F]``, ``expr`` is ``[B, 1, 1, F]``. ``flat_chw`` / ``flat_hwc``: graph has ``[B, F]``
    flattened in that order, ``expr`` is NHWC. ``native`` marks a plain tensor that is NHWC.
    """

    expr: Any
    kind: str = "plain"
    native: bool = False


@dataclass(frozen=True)
class Stacked:
    """Slices along an extra axis, kept apart: stacked bases become single ones."""

    slices: tuple[Placed, ...]
    axis: int
    rank: int = 5


Value = Placed | Stacked


class Layout:
    """Conversions between placements, emitted through one block builder."""

    def __init__(self, builder: relax.BlockBuilder) -> None:
        self.builder = builder

    def op(self, expr: Any, name: str = "") -> Any:
        """Bind ``expr``; see :meth:`layer` for what keeps its name."""
        if isinstance(expr, relax.Var) or constant(expr) is not None:
            return expr
        return self.builder.emit(expr, name)

    def layer(self, expr: Any, name: str) -> Any:
        """Bind a layer under its own name."""
        return emit(self.builder, expr, name)

    def plain(self, value: Placed) -> Any:
        """The graph's own tensor."""
        x = value.expr
        if value.kind == "plain":
            return x
        if value.kind == "nhwc":
            return self.op(relax.op.permute_dims(x, TO_NCHW))
        batch, h, w, c = shape_of(x)
        if value.kind == "flat_chw":
            x = self.op(relax.op.permute_dims(x, TO_NCHW))
        return self.op(relax.op.reshape(x, (batch, h * w * c)))

    def nhwc(self, value: Placed) -> Any:
        """NHWC form of a rank-4 NCHW tensor."""
        if value.kind == "nhwc":
            return value.expr
        return self.op(relax.op.permute_dims(self.plain(value), TO_NHWC))

    def dense(self, value: Placed) -> Any:
        """``[B, 1, 1, F]`` form of a rank-2 tensor."""
        if value.kind == "dense":
            return value.expr
        x = self.plain(value)
        batch, features = shape_of(x)
        return self.op(relax.op.reshape(x, (batch, 1, 1, features)))


def place_constant(array: np.ndarray, kind: str, like: tuple[Any, ...]) -> np.ndarray:
    """A broadcast operand, moved to the layout of ``kind`` (``like``: shape in that layout)."""
    if array.ndim == 0 or array.size == 1:
        return array.reshape(())
    if kind == "nhwc":
        full = array.reshape((1,) * (4 - array.ndim) + array.shape)
        return full.transpose(TO_NHWC)
    if kind == "dense":
        full = array.reshape((1,) * (2 - array.ndim) + array.shape)
        return full.reshape(full.shape[0], 1, 1, full.shape[1])
    _, h, w, c = like
    full = array.reshape((1,) * (2 - array.ndim) + array.shape)
    if kind == "flat_chw":
        return full.reshape(full.shape[0], c, h, w).transpose(TO_NHWC)
    return full.reshape(full.shape[0], h, w, c)


def flattened(value: Placed) -> Placed:
    """The rank-2 flattening of a rank-4 value."""
    dims = shape_of(value.expr)
    if value.kind == "nhwc":
        one = dims[1] == 1 and dims[2] == 1
        return Placed(value.expr, "dense" if one else "flat_chw")
    return Placed(value.expr, "flat_hwc")


def is_flatten(old: tuple[Any, ...], new: tuple[Any, ...]) -> bool:
    """Whether a reshape joins all but the batch dimension."""
    return (
        len(old) == 4
        and len(new) == 2
        and all(isinstance(d, int) for d in old[1:])
        and isinstance(new[1], int)
        and prod(old[1:]) == new[1]
    )
