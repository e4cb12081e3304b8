"""Shapes of a two-dimensional window operator (convolution, dense, pooling) in NHWC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tvm.tirx import Expr

Dim: TypeAlias = "int | Expr"
"""An ``int``, or a TVM expression for a symbolic batch."""

WORD = 32
"""Channels in one packed word: channel ``c`` is bit ``c % 32`` of word ``c // 32``."""


def words(channels: int) -> int:
    """Number of 32-bit words that hold ``channels`` bits."""
    return -(-channels // WORD)


def pair(values: Any) -> tuple[int, int]:
    """``(a, b)`` from a scalar, a 1-list or a 2-list of an operator's attributes."""
    items = [int(v) for v in values] if hasattr(values, "__len__") else [int(values)]
    return (items[0], items[-1])


@dataclass(frozen=True)
class Window:
    """One window operator on an NHWC tensor.

    ``padding`` is (top, left, bottom, right); ``in_channels`` and ``out_channels`` count all
    groups together. A dense layer is a 1x1 window on a 1x1 image.
    """

    batch: Dim
    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def out_height(self) -> int:
        span = (self.kernel[0] - 1) * self.dilation[0] + 1
        return (self.height + self.padding[0] + self.padding[2] - span) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        span = (self.kernel[1] - 1) * self.dilation[1] + 1
        return (self.width + self.padding[1] + self.padding[3] - span) // self.stride[1] + 1

    @property
    def group_in(self) -> int:
        return self.in_channels // self.groups

    @property
    def group_out(self) -> int:
        return self.out_channels // self.groups

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        pixels = self.out_height * self.out_width
        return pixels * self.out_channels * self.group_in * self.taps

    def reach(self, axis: int, out_extent: int) -> int:
        """Rows (axis 0) or columns (axis 1) of padded input that ``out_extent`` outputs read."""
        span = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        return (out_extent - 1) * self.stride[axis] + span
