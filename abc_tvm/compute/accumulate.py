"""The reduction of a convolution: binary planes by xor + popcount, or float products.

Both have one shape of loop nest (see ``abc_tvm.schedules``): output channels in lanes, the
activation broadcast, reduction over ``kh, kw, c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tvm import te, tirx
from tvm.tirx import Expr

from .geometry import Window
from .lanes import Blocking
from .roles import notes

IMAGE = "abc_image"
"""Annotation of a ``pad`` block: columns of border before the image, columns of the image."""

Planes = Literal["inside", "weights", "activations", "outside"]
"""Which planes are a loop round the reduction, one after the other ("outside": both kinds)."""

PLANES: tuple[Planes, ...] = get_args(Planes)


@dataclass(frozen=True)
class Tile:
    """What one pass of the inner loops holds in registers.

    ``rows x columns`` output pixels times ``blocks`` lane blocks times the pairs of planes.
    Extents that do not divide the output are rounded up: the surplus is computed and dropped.
    """

    rows: int = 1
    columns: int = 1
    blocks: int = 1
    parts: int = 1
    """Passes in which the registers of one lane block are worked through."""
    planes: Planes = "inside"
    """"inside": every pair in one pass, so that all share the loads of both its planes."""

    def pairs(self, bases: int, pairs: int) -> int:
        """Pairs of planes in one pass, of ``pairs`` with ``bases`` weight planes."""
        held = {"inside": pairs, "weights": pairs // bases, "activations": bases, "outside": 1}
        return held[self.planes]

    def padded(self, window: Window) -> tuple[int, int]:
        """Output height and width rounded up to whole tiles."""
        return (
            -(-window.out_height // self.rows) * self.rows,
            -(-window.out_width // self.columns) * self.columns,
        )


def pad_spatial(
    data: te.Tensor, window: Window, tile: Tile, copies: int = 0, fill: int = 0
) -> te.Tensor:
    """Border of ``fill`` round ``data [B, H, W, ...]``, wide enough for whole tiles.

    Returns ``data`` itself where nothing is to be added. With ``copies`` every element is there
    so many times, along a new last axis.
    """
    out_h, out_w = tile.padded(window)
    top, left, _, _ = window.padding
    rows = max(window.reach(0, out_h), window.height + top)
    columns = max(window.reach(1, out_w), window.width + left)
    if (rows, columns) == (window.height, window.width) and not copies:
        return data
    shape = (data.shape[0], rows, columns, *data.shape[3:], *([copies] if copies else []))
    last = len(data.shape) - 3

    def value(b: Expr, h: Expr, w: Expr, *rest: Expr) -> Expr:
        inside = te.all(h >= top, h < window.height + top, w >= left, w < window.width + left)
        return tirx.if_then_else(
            inside, data[(b, h - top, w - left, *rest[:last])], tirx.const(fill, data.dtype)
        )

    return te.compute(
        shape, value, name="pad", attrs=notes("border", {IMAGE: [left, window.width]})
    )


def _taps(window: Window) -> tuple[te.IterVar, te.IterVar]:
    return (
        te.reduce_axis((0, window.kernel[0]), name="kh"),
        te.reduce_axis((0, window.kernel[1]), name="kw"),
    )


def popcounts(
    bits: te.Tensor, planes: te.Tensor, window: Window, blocking: Blocking, tile: Tile
) -> te.Tensor:
    """Differing bits of every pair of planes.

    ``bits`` uint32 ``[B, H, W, P, G, C]`` with ``C`` words a group; ``planes`` uint32
    ``[G*O, KH, KW, C, M, L]``. Returns int32 ``[B, OH', OW', G, O, M, P, L]``:
    ``sum over kh, kw, c of popcount(bits ^ planes)``, where bits outside the image are 0.
    """
    padded = pad_spatial(bits, window, tile)
    out_h, out_w = tile.padded(window)
    kh, kw = _taps(window)
    c = te.reduce_axis((0, planes.shape[3]), name="cw")
    (sh, sw), (dh, dw) = window.stride, window.dilation
    shape = (
        bits.shape[0],
        out_h,
        out_w,
        blocking.groups,
        blocking.blocks,
        planes.shape[4],
        bits.shape[3],
        blocking.lanes,
    )

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, m: Expr, p: Expr, l: Expr) -> Expr:
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, p, g, c]
        v = planes[g * blocking.blocks + o, kh, kw, c, m, l]
        return te.sum(tirx.popcount(a ^ v).astype("int32"), axis=[kh, kw, c])

    return te.compute(shape, value, name="acc", attrs=notes("sums"))


def products(
    data: te.Tensor, weights: te.Tensor, window: Window, blocking: Blocking, tile: Tile
) -> te.Tensor:
    """Float convolution sums.

    ``data`` float32 ``[B, H, W, G, C]``; ``weights`` float32 ``[G*O, KH, KW, C, L]``. Returns
    float32 ``[B, OH', OW', G, O, L]``.
    """
    padded = pad_spatial(data, window, tile)
    out_h, out_w = tile.padded(window)
    kh, kw = _taps(window)
    c = te.reduce_axis((0, weights.shape[3]), name="c")
    (sh, sw), (dh, dw) = window.stride, window.dilation
    shape = (data.shape[0], out_h, out_w, blocking.groups, blocking.blocks, blocking.lanes)

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, g, c]
        return te.sum(a * weights[g * blocking.blocks + o, kh, kw, c, l], axis=[kh, kw, c])

    return te.compute(shape, value, name="acc", attrs=notes("sums"))


def combine(
    counts: te.Tensor,
    factors: te.Tensor,
    window: Window,
    blocking: Blocking,
    dtype: str,
    middle: int = 0,
) -> te.Tensor:
    """Weighted sum of counts: ``sum over m, p of factors[m, p, slot] * (counts - middle)``.

    ``middle`` near the counts' mean keeps float32 sums small, and so their rounding errors.
    ``factors`` is ``[M, P, slots]`` (per channel) or ``[M, P, 1]`` (per layer), of ``dtype``
    (float32, or int32 where everything is an integer multiple of a common unit). Returns
    ``[B, OH, OW, G, O, L]``.
    """
    m = te.reduce_axis((0, counts.shape[5]), name="m")
    p = te.reduce_axis((0, counts.shape[6]), name="p")
    per_channel = int(factors.shape[2]) > 1
    shape = blocking.shape(counts.shape[0], window.out_height, window.out_width)

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        slot = blocking.slot((b, h, w, g, o, l)) if per_channel else 0
        return te.sum(
            factors[m, p, slot] * (counts[b, h, w, g, o, m, p, l] - middle).astype(dtype),
            axis=[m, p],
        )

    return te.compute(shape, value, name="sum", attrs=notes("combine"))
