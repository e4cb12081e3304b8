"""Lane-blocked tensors: the form in which every kernel holds its results.

Output channels run across vector lanes. A *slot* is the place of a channel in that blocked
order: group ``g``, block ``o`` of ``lanes`` channels, lane ``l``. The last block of a group is
padded; padded slots compute on zeros and are never stored to an unpadded tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .geometry import Dim
from .roles import Role, notes

Index = tuple[Expr, Expr, Expr, Expr, Expr, Expr]
"""TE index ``(b, h, w, g, o, l)`` of one slot of one pixel."""

Scalar = Callable[[Index], Expr]
"""The value of one slot, as a function of its index."""

Passes = Callable[[Expr, Index], Expr]
"""``passes(p, index)``: whether the value of a slot reaches threshold ``p``."""


@dataclass(frozen=True)
class Blocking:
    """How ``channels`` (all groups together) lie in slots."""

    channels: int
    groups: int = 1
    lanes: int = 32

    @property
    def group_channels(self) -> int:
        return self.channels // self.groups

    @property
    def blocks(self) -> int:
        """Lane blocks of one group."""
        return -(-self.group_channels // self.lanes)

    @property
    def slots(self) -> int:
        return self.groups * self.blocks * self.lanes

    @property
    def aligned(self) -> bool:
        """Whether slots and channels are the same numbers."""
        return self.group_channels % self.lanes == 0

    def slot_of_channel(self) -> np.ndarray:
        """``[channels]`` int64: the slot of each channel."""
        c = np.arange(self.channels)
        g, r = np.divmod(c, self.group_channels)
        return g * self.blocks * self.lanes + r

    def spread(self, per_channel: np.ndarray, fill: float = 0) -> np.ndarray:
        """``[..., channels]`` to ``[..., slots]``; padded slots get ``fill``."""
        out = np.full((*per_channel.shape[:-1], self.slots), fill, per_channel.dtype)
        out[..., self.slot_of_channel()] = per_channel
        return out

    def slot(self, index: Index) -> Expr:
        _, _, _, g, o, l = index
        return (g * self.blocks + o) * self.lanes + l

    def read(self, tensor: te.Tensor, index: Index, missing: Expr | None = None) -> Expr:
        """Element of an NHWC tensor at a slot; padded slots read ``missing`` (default 0).

        Dimensions of extent 1 broadcast.
        """
        b, h, w, g, o, l = index
        r = o * self.lanes + l
        at = [b, h, w, g * self.group_channels + r]
        zero = [_is_one(extent) for extent in tensor.shape]
        where = [tirx.const(0, "int32") if z else i for z, i in zip(zero, at, strict=True)]
        value = tensor[tuple(where)]
        if self.aligned or zero[3]:
            return value
        if missing is None:
            missing = tirx.const(0, tensor.dtype)
        return tirx.if_then_else(r < self.group_channels, value, missing)

    def shape(self, batch: Dim, height: int, width: int) -> tuple[Dim, ...]:
        return (batch, height, width, self.groups, self.blocks, self.lanes)


def _is_one(extent: Dim) -> bool:
    return isinstance(extent, (int, tirx.IntImm)) and int(extent) == 1


def stage(name: str, shape: tuple[Dim, ...], value: Scalar, role: Role = "value") -> te.Tensor:
    """A named TE stage over ``(b, h, w, g, o, l)``."""
    return te.compute(shape, lambda *index: value(index), name=name, attrs=notes(role))
