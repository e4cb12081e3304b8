"""Grouped convolutions on bytes with few input channels a group: depthwise ones, above all.

A dot product of four bytes would have one to three of them filled, and a vector of 32 outputs a
group's few. So all groups lie side by side, a channel in each byte, ``[B, H, W, 1, S]``, and every
lane multiplies with its own weights. Where an output channel reads another channel than its own
number (several outputs or inputs a group), codes are spread to the lanes that read them first.

Products and sums are of the least size that holds every sum that there can be: ``bytes`` of signs,
where a product is the code or its complement (``-c - 1``, which one ``xor`` makes; the ones are
added up beforehand, :attr:`Narrow.constant`); 16 bits; or 16 bits for products, 32 for sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .accumulate import Tile, pad_spatial
from .geometry import WORD, Window
from .lanes import Blocking
from .roles import notes

MOST_INPUTS = 3
"""Input channels of a narrow group."""

SPREAD = "abc_spread"
"""Annotation of a ``border`` block that repeats channels: the lanes of one group."""

SumType = Literal["int8", "int16", "int32"]


def is_narrow(window: Window) -> bool:
    """Whether groups are so narrow that they had better lie side by side."""
    few = window.group_in <= MOST_INPUTS and window.group_out < WORD
    return window.groups > 1 and few


@dataclass(frozen=True, eq=False)
class Narrow:
    """Weights int8 OHWI of narrow groups, whose codes are at most ``largest`` in size."""

    weights: np.ndarray
    largest: int
    signed: bool

    @cached_property
    def signs(self) -> bool:
        """Whether sums are of codes and complements of codes."""
        flat = self.weights.reshape(len(self.weights), -1).astype(np.int64)
        least, most = (flat < 0).sum(1) * (self.largest + 1), (flat > 0).sum(1) * self.largest
        if self.signed:
            least = most = flat.shape[1] * (self.largest + 1)
        return bool(np.all(np.abs(flat) == 1) and np.all(least < 127) and np.all(most < 127))

    @cached_property
    def dtype(self) -> SumType:
        """Of the sums; their greatest value is one that no sum has."""
        if self.signs:
            return "int8"
        sizes = np.abs(self.weights.astype(np.int64)).reshape(len(self.weights), -1).sum(1)
        return "int16" if int(sizes.max(initial=0)) * self.largest < 2**15 - 1 else "int32"

    @property
    def constant(self) -> np.ndarray:
        """int64 ``[OC]``: what is to be added to the sums."""
        flat = self.weights.reshape(len(self.weights), -1)
        return (flat < 0).sum(1) if self.signs else np.zeros(len(flat), np.int64)

    def table(self, blocking: Blocking) -> np.ndarray:
        """int8 ``[KH, KW, IC/g, slots]``: the weights, or of signs what codes are xored with.

        Slots without a channel are 0.
        """
        of_lanes = np.moveaxis(self.weights, 0, -1)
        if self.signs:
            of_lanes = np.where(of_lanes < 0, np.int8(-1), np.int8(0))
        return np.ascontiguousarray(blocking.spread(of_lanes))


def narrow_products(
    codes: te.Tensor,
    table: te.Tensor,
    narrow: Narrow,
    window: Window,
    blocking: Blocking,
    tile: Tile,
    zero: int = 0,
) -> te.Tensor:
    """Sums of products of bytes, :attr:`Narrow.constant` left out.

    ``codes`` uint8 or int8 ``[B, H, W, 1, S]``; ``table`` of :meth:`Narrow.table`; outside the
    image codes are ``zero``; ``blocking`` of one group. Returns :attr:`Narrow.dtype`
    ``[B, OH', OW', 1, O, L]``.
    """
    own = window.group_in == window.group_out == 1
    padded = (pad_spatial if own else _spread)(codes, window, tile, fill=zero)
    kh, kw = (
        te.reduce_axis((0, n), name=x) for n, x in zip(window.kernel, ("kh", "kw"), strict=True)
    )
    c = te.reduce_axis((0, window.group_in), name="c")
    (sh, sw), (dh, dw) = window.stride, window.dilation

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        slot = o * blocking.lanes + l
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, c, slot]
        v = table[kh, kw, c, slot]
        product = a.astype("int8") ^ v if narrow.signs else a.astype("int16") * v.astype("int16")
        return te.sum(product.astype(narrow.dtype), axis=[kh, kw, c])

    shape = (codes.shape[0], *tile.padded(window), 1, blocking.blocks, blocking.lanes)
    return te.compute(shape, value, name="acc", attrs=notes("sums"))


def _spread(codes: te.Tensor, window: Window, tile: Tile, fill: int) -> te.Tensor:
    """Codes ``[B, H', W', IC/g, S']``: in every lane what its output channel reads, and a border.

    ``S'`` are whole groups, at least as many lanes as there are slots. Lanes past the last channel
    have codes of the last group.
    """
    out_h, out_w = tile.padded(window)
    top, left, _, _ = window.padding
    rows = max(window.reach(0, out_h), window.height + top)
    columns = max(window.reach(1, out_w), window.width + left)
    each = window.group_out
    slots = -(-window.out_channels // WORD) * WORD
    lanes = -(-slots // each) * each

    def value(b: Expr, h: Expr, w: Expr, c: Expr, s: Expr) -> Expr:
        group = tirx.indexdiv(s, each)
        if lanes > window.out_channels:
            group = tirx.min(group, tirx.const(window.groups - 1, "int32"))
        inside = te.all(h >= top, h < window.height + top, w >= left, w < window.width + left)
        code = codes[b, h - top, w - left, 0, group * window.group_in + c]
        if (rows, columns) == (window.height, window.width):
            return code
        return tirx.if_then_else(inside, code, tirx.const(fill, codes.dtype))

    shape = (codes.shape[0], rows, columns, window.group_in, lanes)
    return te.compute(shape, value, name="spread", attrs=notes("border", {SPREAD: each}))
