"""Differing bits in bytes, for processors whose vector popcount counts bytes (Arm's ``cnt``).

A vector register of 16 bytes holds one packed word of four output channels. The activation word,
spread to the same four places, is xored in, ``cnt`` counts each byte, and bytes are added: 128
binary products in three instructions, without a sum across lanes. A byte holds at most 255 and a
step adds at most 8, so after ``MOST_ADDED`` steps the bytes are added, four by four, to 32-bit
sums.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .accumulate import Tile, pad_spatial
from .geometry import Dim, Window
from .lanes import Blocking
from .roles import notes

MOST_ADDED = 255 // 8
"""Words that a byte can sum."""

WORDS = 4
"""Packed words in one vector register of 16 bytes."""

BYTES = 16

STRIDES = "abc_strides"
"""Annotation of a reduction in steps: kernel, stride and dilation, each in rows and columns, and
the steps of one tap."""

PAST_END = 256
"""Bytes behind the last weights that may be read, and are not used."""


def pack_bytes(planes: np.ndarray) -> np.ndarray:
    """Weights as vectors of bytes.

    ``planes`` uint32 ``[G*O, KH, KW, C, M, L]``, the packed weights of
    :func:`abc_tvm.compute.accumulate.popcounts`. Returns uint8 ``[G*O, KH, KW, C, M, L/4, 16]``,
    the same memory on a little-endian machine.
    """
    words = np.ascontiguousarray(planes).astype("<u4")
    return words.view(np.uint8).reshape(*planes.shape[:-1], planes.shape[-1] // WORDS, BYTES)


def byte_steps(kernel: tuple[int, int], words: int) -> tuple[int, int, int]:
    """Parts of ``kh, kw, words`` that one byte sums; each divides its extent.

    As many words as a byte holds; among equals, runs along the channels and the row.
    """

    def divisors(extent: int) -> list[int]:
        return [n for n in range(1, min(extent, MOST_ADDED) + 1) if extent % n == 0]

    choices = product(divisors(kernel[0]), divisors(kernel[1]), divisors(words))
    fit = [s for s in choices if s[0] * s[1] * s[2] <= MOST_ADDED]
    return max(fit, key=lambda s: (s[0] * s[1] * s[2], s[2], s[1]))


def spread_words(bits: te.Tensor, window: Window, tile: Tile) -> te.Tensor:
    """Every activation word four times, with the border of zeros that ``window`` needs.

    ``bits`` uint32 ``[B, H, W, P, G, C]``. Returns uint32 ``[B, H', W', P, G, C, 4]``. Made once,
    it saves a broadcast, which costs a vector instruction, at every use of the word.
    """
    return pad_spatial(bits, window, tile, copies=WORDS)


def byte_counts(
    bits: te.Tensor, planes: te.Tensor, window: Window, blocking: Blocking, tile: Tile
) -> te.Tensor:
    """The same counts as :func:`abc_tvm.compute.accumulate.popcounts`, summed in bytes.

    ``bits`` uint32 ``[B, H, W, P, G, C]``; ``planes`` uint8 ``[G*O, KH, KW, C, M, L/4, 16]`` from
    :func:`pack_bytes`. Returns int32 ``[B, OH', OW', G, O, M, P, L]``.
    """
    operands = _Operands(bits, window, blocking, tile, planes.shape[4])
    words = int(bits.shape[5])
    steps = byte_steps(window.kernel, words)
    kh1, kw1, c1 = (te.reduce_axis((0, s), name=n) for s, n in zip(steps, _BYTE_AXES, strict=True))
    extents = (*window.kernel, words)
    parts = [extent // step for extent, step in zip(extents, steps, strict=True)]
    kh0, kw0, c0 = (te.reduce_axis((0, n), name=x) for n, x in zip(parts, _WIDE_AXES, strict=True))

    def in_byte(*at: Expr) -> Expr:
        *pixel, y, x, z, r, i = at
        kh, kw, c = y * steps[0] + kh1, x * steps[1] + kw1, z * steps[2] + c1
        _, _, _, g, o, m, _ = pixel
        weight = planes[g * blocking.blocks + o, kh, kw, c, m, r, i]
        differing = operands.activation(pixel, (kh, kw, c), i) ^ weight
        return te.sum(tirx.popcount(differing), axis=[kh1, kw1, c1])

    shape = (*operands.head, *parts, blocking.lanes // WORDS, BYTES)
    in_bytes = te.compute(shape, in_byte, name="byte_acc", attrs=notes("partial"))

    def wide(*at: Expr) -> Expr:
        *pixel, l = at
        r, i = tirx.indexdiv(l, WORDS), tirx.indexmod(l, WORDS) * WORDS
        four = [in_bytes[(*pixel, kh0, kw0, c0, r, i + j)].astype("int32") for j in range(WORDS)]
        return te.sum(four[0] + four[1] + four[2] + four[3], axis=[kh0, kw0, c0])

    return te.compute((*operands.head, blocking.lanes), wide, name="acc", attrs=notes("sums"))


def pack_steps(planes: np.ndarray, tile: Tile) -> np.ndarray:
    """Weights in the order in which the loop of :mod:`abc_tvm.schedules.neon.microkernel` reads.

    ``planes`` as of :func:`pack_bytes`. Returns uint8, one-dimensional: for each block of lanes,
    plane and part of the block, the registers of one step after the other; then zeros, because
    loads run ahead of the loop.
    """
    blocks, *_, m, lanes = planes.shape
    parts = planes.reshape(blocks, -1, m, tile.parts, lanes // tile.parts)
    ordered = np.ascontiguousarray(parts.transpose(0, 2, 3, 1, 4)).astype("<u4")
    return np.concatenate([ordered.reshape(-1).view(np.uint8), np.zeros(PAST_END, np.uint8)])


def step_counts(
    bits: te.Tensor, planes: te.Tensor, count: int, window: Window, blocking: Blocking, tile: Tile
) -> te.Tensor:
    """The same counts as one reduction, which the loop of the microkernel replaces.

    ``bits`` uint32 ``[B, H, W, P, G, C]``; ``planes`` uint8 from :func:`pack_steps`, of ``count``
    weight planes. Returns int32 ``[B, OH', OW', G, O, M, P, L]``.
    """
    words = int(bits.shape[5])
    operands = _Operands(bits, window, blocking, tile, count)
    extents = (*window.kernel, words)
    kh, kw, c = (te.reduce_axis((0, n), name=x) for n, x in zip(extents, _STEP_AXES, strict=True))
    registers = blocking.lanes // WORDS // tile.parts

    def weight(pixel: list[Expr], r: Expr, i: Expr) -> Expr:
        _, _, _, g, o, m, _ = pixel
        at = (g * blocking.blocks + o) * count + m
        at = at * tile.parts + tirx.indexdiv(r, registers)
        at = ((at * extents[0] + kh) * extents[1] + kw) * extents[2] + c
        return planes[(at * registers + tirx.indexmod(r, registers)) * BYTES + i]

    def value(*at: Expr) -> Expr:
        *pixel, l = at
        r, i = tirx.indexdiv(l, WORDS), tirx.indexmod(l, WORDS) * WORDS
        total = None
        for j in range(WORDS):
            byte = operands.activation(pixel, (kh, kw, c), i + j) ^ weight(pixel, r, i + j)
            bits_of_byte = tirx.popcount(byte).astype("int32")
            total = bits_of_byte if total is None else total + bits_of_byte
        return te.sum(total, axis=[kh, kw, c])

    strides = [*window.kernel, *window.stride, *window.dilation, words]
    attrs = notes("sums", {STRIDES: strides})
    return te.compute((*operands.head, blocking.lanes), value, name="acc", attrs=attrs)


_BYTE_AXES = ("kh1", "kw1", "c1")
_WIDE_AXES = ("kh0", "kw0", "c0")
_STEP_AXES = ("kh", "kw", "cw")


class _Operands:
    """Spread activations of one window, and how a step reads them."""

    def __init__(
        self, bits: te.Tensor, window: Window, blocking: Blocking, tile: Tile, planes: Dim
    ) -> None:
        self.spread = spread_words(bits, window, tile)
        self.window = window
        size = (blocking.groups, blocking.blocks, planes, bits.shape[3])
        self.head = (bits.shape[0], *tile.padded(window), *size)

    def activation(self, pixel: list[Expr], tap: tuple[Expr, Expr, Expr], i: Expr) -> Expr:
        """Byte ``i`` of a register with the activation word of one tap, spread, as uint8."""
        b, h, w, g, _, _, p = pixel
        kh, kw, c = tap
        (sh, sw), (dh, dw) = self.window.stride, self.window.dilation
        row, column = h * sh + kh * dh, w * sw + kw * dw
        word = self.spread[b, row, column, p, g, c, tirx.indexdiv(i, WORDS)]
        shift = (tirx.indexmod(i, WORDS) * 8).astype("uint32")
        return (word >> shift).astype("uint8")
