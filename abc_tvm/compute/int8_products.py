"""Convolutions on levels coded as bytes, for processors with dot products of four bytes.

Activations are the integers that their levels are multiples of, one byte a channel; weights
likewise. ``vpdpbusd`` (x86) multiplies unsigned by signed bytes, ``sdot`` (Arm) signed by signed
ones, and both add four products to a 32-bit sum, exactly. One instruction costs the same for every
number of planes, so that this form wins where M·N is large.
"""

from __future__ import annotations

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .accumulate import Tile, pad_spatial
from .byte_sums import PAST_END, STRIDES
from .float_steps import STEP_CHANNELS, step_channels
from .geometry import WORD, Window, words
from .lanes import Blocking
from .roles import notes

QUAD = 4
"""Channels that one lane of a dot product takes."""

DOT = "abc_dot"
"""Annotation of the sums that dot products compute."""


def quads(channels: int) -> int:
    """Groups of four that hold ``channels`` bytes."""
    return -(-channels // QUAD)


def code_slots(group_channels: int) -> int:
    """Bytes of one group of channels in a tensor of codes: whole blocks of lanes."""
    return words(group_channels) * WORD


def pack_quads(weights: np.ndarray, blocking: Blocking) -> np.ndarray:
    """int8 OHWI to int8 ``[G*O, KH, KW, C/4, L * 4]``: four input channels of each lane together.

    Missing channels, and lanes past the last output channel, are 0.
    """
    _, kh, kw, ic = weights.shape
    lanes = np.zeros((kh, kw, quads(ic) * QUAD, blocking.slots), np.int8)
    lanes[:, :, :ic, blocking.slot_of_channel()] = np.moveaxis(weights, 0, -1)
    split = lanes.reshape(kh, kw, -1, QUAD, blocking.groups * blocking.blocks, blocking.lanes)
    ordered = split.transpose(4, 0, 1, 2, 5, 3)
    return np.ascontiguousarray(ordered.reshape(*ordered.shape[:4], -1))


def int8_products(
    codes: te.Tensor,
    weights: te.Tensor,
    window: Window,
    blocking: Blocking,
    tile: Tile,
    zero: int = 0,
) -> te.Tensor:
    """Sums of products of bytes.

    ``codes`` uint8 or int8 ``[B, H, W, G, S]`` with ``S`` of :func:`code_slots`; ``weights`` int8
    from :func:`pack_quads`; outside the image codes are ``zero``. Returns int32
    ``[B, OH', OW', G, O, L]``.
    """
    padded = pad_spatial(codes, window, tile, fill=zero)
    kh, kw = (
        te.reduce_axis((0, n), name=x) for n, x in zip(window.kernel, ("kh", "kw"), strict=True)
    )
    c = te.reduce_axis((0, weights.shape[3]), name="c")
    q = te.reduce_axis((0, QUAD), name="q")
    (sh, sw), (dh, dw) = window.stride, window.dilation

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, g, c * QUAD + q]
        v = weights[g * blocking.blocks + o, kh, kw, c, l * QUAD + q]
        return te.sum(a.astype("int32") * v.astype("int32"), axis=[kh, kw, c, q])

    shape = (codes.shape[0], *tile.padded(window), blocking.groups, blocking.blocks, blocking.lanes)
    return te.compute(shape, value, name="acc", attrs=notes("sums", {DOT: 1}))


def pack_steps(weights: np.ndarray, tile: Tile) -> np.ndarray:
    """Weights in the order in which the loop of :mod:`abc_tvm.schedules.neon.float_kernel` reads.

    ``weights`` as of :func:`pack_quads`. Returns int8, one-dimensional: for each block of lanes and
    part of it, step after step, the quads of a step, and their registers; then zeros, because loads
    run ahead of the loop. Missing quads of the last step are zeros.
    """
    blocks, kh, kw, count, lanes = weights.shape
    per_step = step_channels(count)
    padded = np.zeros((blocks, kh, kw, -(-count // per_step) * per_step, lanes), np.int8)
    padded[:, :, :, :count] = weights
    parts = padded.reshape(blocks, -1, tile.parts, lanes // tile.parts).transpose(0, 2, 1, 3)
    return np.concatenate([parts.reshape(-1), np.zeros(PAST_END, np.int8)])


def step_int8_products(
    codes: te.Tensor,
    weights: te.Tensor,
    window: Window,
    blocking: Blocking,
    tile: Tile,
    zero: int = 0,
) -> te.Tensor:
    """The same sums as :func:`int8_products`, which the loop of the microkernel replaces.

    ``weights`` int8 from :func:`pack_steps`.
    """
    padded = pad_spatial(codes, window, tile, fill=zero)
    per_step = step_channels(quads(window.group_in))
    count = -(-quads(window.group_in) // per_step) * per_step
    kh, kw = (
        te.reduce_axis((0, n), name=x) for n, x in zip(window.kernel, ("kh", "kw"), strict=True)
    )
    c = te.reduce_axis((0, count), name="c")
    q = te.reduce_axis((0, QUAD), name="q")
    (sh, sw), (dh, dw) = window.stride, window.dilation
    lanes = blocking.lanes // tile.parts

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        at = (g * blocking.blocks + o) * tile.parts + tirx.indexdiv(l, lanes)
        at = ((at * window.kernel[0] + kh) * window.kernel[1] + kw) * count + c
        v = weights[(at * lanes + tirx.indexmod(l, lanes)) * QUAD + q]
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, g, c * QUAD + q]
        return te.sum(a.astype("int32") * v.astype("int32"), axis=[kh, kw, c, q])

    shape = (codes.shape[0], *tile.padded(window), blocking.groups, blocking.blocks, blocking.lanes)
    strides = [*window.kernel, *window.stride, *window.dilation, count // per_step]
    attrs = notes("sums", {STRIDES: strides, STEP_CHANNELS: per_step, DOT: 1})
    return te.compute(shape, value, name="acc", attrs=attrs)
