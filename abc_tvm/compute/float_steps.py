"""Float convolutions in steps of up to four input channels: one register of an activation.

The reduction is that of :func:`abc_tvm.compute.accumulate.products`, on operands laid out for the
loop of :mod:`abc_tvm.schedules.neon.float_kernel`.
"""

from __future__ import annotations

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .accumulate import IMAGE, Tile, pad_spatial
from .byte_sums import PAST_END, STRIDES, WORDS
from .geometry import Window
from .lanes import Blocking
from .roles import notes

CHANNELS = 4
"""Input channels of one register."""

STEP_CHANNELS = "abc_step_channels"
"""Annotation of :func:`step_products`: input channels of a step."""


def step_channels(group_in: int) -> int:
    """Input channels of a step, for so many in a group."""
    return min(group_in, CHANNELS)


def pack_steps(weights: np.ndarray, tile: Tile) -> np.ndarray:
    """Weights in the order in which the loop reads them.

    ``weights`` float32 ``[G*O, KH, KW, C, L]``. Returns float32, one-dimensional: for each block of
    lanes and part of it, step after step, the channels of a step, and their registers; then zeros,
    because loads run ahead of the loop. Missing channels of the last step are zeros.
    """
    blocks, kh, kw, channels, lanes = weights.shape
    per_step = step_channels(channels)
    count = -(-channels // per_step) * per_step
    padded = np.zeros((blocks, kh, kw, count, lanes), np.float32)
    padded[:, :, :, :channels] = weights
    parts = padded.reshape(blocks, -1, tile.parts, lanes // tile.parts).transpose(0, 2, 1, 3)
    return np.concatenate([parts.reshape(-1), np.zeros(PAST_END // 4, np.float32)])


def step_products(
    data: te.Tensor, weights: te.Tensor, window: Window, blocking: Blocking, tile: Tile
) -> te.Tensor:
    """Float convolution sums, which the loop of the microkernel replaces.

    ``data`` float32 ``[B, H, W, G, C]``; ``weights`` float32 from :func:`pack_steps`. Returns
    float32 ``[B, OH', OW', G, O, L]``.
    """
    channels = step_channels(window.group_in)
    padded = _pad(data, window, tile)
    count = -(-window.group_in // channels) * channels
    (sh, sw), (dh, dw) = window.stride, window.dilation
    kh, kw = (
        te.reduce_axis((0, n), name=x) for n, x in zip(window.kernel, ("kh", "kw"), strict=True)
    )
    c = te.reduce_axis((0, count), name="c")
    lanes = blocking.lanes // tile.parts

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        at = (g * blocking.blocks + o) * tile.parts + tirx.indexdiv(l, lanes)
        at = ((at * window.kernel[0] + kh) * window.kernel[1] + kw) * count + c
        weight = weights[at * lanes + tirx.indexmod(l, lanes)]
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, g, c]
        return te.sum(a * weight, axis=[kh, kw, c])

    shape = (data.shape[0], *tile.padded(window), blocking.groups, blocking.blocks, blocking.lanes)
    strides = [*window.kernel, *window.stride, *window.dilation, count // channels]
    attrs = notes("sums", {STRIDES: strides, STEP_CHANNELS: channels})
    return te.compute(shape, value, name="acc", attrs=attrs)


def _pad(data: te.Tensor, window: Window, tile: Tile) -> te.Tensor:
    """``data`` with its border, and with whole registers of channels: the surplus is zero."""
    wide = -(-window.group_in // WORDS) * WORDS
    if wide == window.group_in:
        return pad_spatial(data, window, tile)
    top, left, _, _ = window.padding
    rows, columns = tile.padded(window)
    rows = max(window.reach(0, rows), window.height + top)
    columns = max(window.reach(1, columns), window.width + left)

    def value(b: Expr, h: Expr, w: Expr, g: Expr, c: Expr) -> Expr:
        inside = te.all(h >= top, h < window.height + top, w >= left, w < window.width + left)
        inside = te.all(inside, c < window.group_in)
        item = data[b, h - top, w - left, g, c]
        return tirx.if_then_else(inside, item, tirx.const(0, data.dtype))

    shape = (data.shape[0], rows, columns, data.shape[3], wide)
    return te.compute(
        shape, value, name="pad", attrs=notes("border", {IMAGE: [left, window.width]})
    )
