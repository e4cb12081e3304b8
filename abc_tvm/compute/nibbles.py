"""Differing bits by table lookup, for processors without a vector popcount.

Four bits of an activation (a *nibble*) select one row of a table of 16 bytes,
``popcount(a ^ w)`` for every weight nibble ``w``. One byte shuffle then looks up 32 output
channels, and one byte addition sums them: two instructions for 128 binary products.

Byte sums hold at most 255 and a nibble adds at most 4, so after ``MOST_ADDED`` nibbles they are
added to wider sums.
"""

from __future__ import annotations

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .accumulate import Tile, pad_spatial
from .geometry import WORD, Window
from .lanes import Blocking
from .roles import notes

NIBBLES = WORD // 4
"""Nibbles in one packed word; nibble ``i`` holds bits ``4 * i`` to ``4 * i + 3``."""

MOST_ADDED = 255 // 4
"""Nibbles that a byte can sum."""


def lookup_table() -> np.ndarray:
    """uint8 ``[256]``: ``popcount(a ^ w)`` at ``16 * a + w``."""
    a, w = np.divmod(np.arange(256), 16)
    return np.array([int(x).bit_count() for x in a ^ w], np.uint8)


def pack_nibbles(planes: np.ndarray) -> np.ndarray:
    """Weights one nibble a byte.

    ``planes`` uint32 ``[G*O, KH, KW, C, M, L]``, the packed weights of
    :func:`abc_tvm.compute.accumulate.popcounts`. Returns uint8 ``[G*O, KH, KW, 8 * C, M, L]``.
    """
    shifts = np.arange(0, WORD, 4, dtype=np.uint32).reshape(-1, 1, 1)
    split = (planes[:, :, :, :, None] >> shifts) & 15
    shape = (*planes.shape[:3], planes.shape[3] * NIBBLES, *planes.shape[4:])
    return np.ascontiguousarray(split.reshape(shape).astype(np.uint8))


def byte_steps(kernel: tuple[int, int], nibbles: int) -> tuple[int, int, int]:
    """Parts of ``kh, kw, nibbles`` that one byte sums; each divides its extent."""
    rows, columns = kernel
    if rows * columns * nibbles <= MOST_ADDED:
        return (rows, columns, nibbles)
    if columns * nibbles <= MOST_ADDED:
        return (1, columns, nibbles)
    return (1, 1, max(n for n in range(1, MOST_ADDED + 1) if nibbles % n == 0))


def nibble_counts(
    bits: te.Tensor,
    nibbles: te.Tensor,
    table: te.Tensor,
    window: Window,
    blocking: Blocking,
    tile: Tile,
) -> te.Tensor:
    """The same counts as :func:`abc_tvm.compute.accumulate.popcounts`, by lookup.

    ``bits`` uint32 ``[B, H, W, P, G, C]``; ``nibbles`` uint8 ``[G*O, KH, KW, 8 * C, M, L]`` from
    :func:`pack_nibbles`; ``table`` uint8 ``[256]`` from :func:`lookup_table`. Returns int32
    ``[B, OH', OW', G, O, M, P, L]``.
    """
    codes = _codes(pad_spatial(bits, window, tile))
    count = int(nibbles.shape[3])
    out_h, out_w = tile.padded(window)
    (sh, sw), (dh, dw) = window.stride, window.dilation
    steps = byte_steps(window.kernel, count)
    parts = [extent // step for extent, step in zip((*window.kernel, count), steps, strict=True)]
    kh1, kw1, n1 = (te.reduce_axis((0, s), name=n) for s, n in zip(steps, _BYTE_AXES, strict=True))
    kh0, kw0, n0 = (te.reduce_axis((0, p), name=n) for p, n in zip(parts, _WIDE_AXES, strict=True))
    planes = (int(nibbles.shape[4]), int(bits.shape[3]))
    head = (bits.shape[0], out_h, out_w, blocking.groups, blocking.blocks, *planes)

    def in_byte(
        b: Expr,
        h: Expr,
        w: Expr,
        g: Expr,
        o: Expr,
        m: Expr,
        p: Expr,
        y: Expr,
        x: Expr,
        z: Expr,
        l: Expr,
    ) -> Expr:
        kh, kw, n = y * steps[0] + kh1, x * steps[1] + kw1, z * steps[2] + n1
        a = codes[b, h * sh + kh * dh, w * sw + kw * dw, p, g, n]
        v = nibbles[g * blocking.blocks + o, kh, kw, n, m, l]
        return te.sum(table[a.astype("int32") + v.astype("int32")], axis=[kh1, kw1, n1])

    in_bytes = te.compute(
        (*head, *parts, blocking.lanes), in_byte, name="byte_acc", attrs=notes("partial")
    )
    largest = window.taps * count * 4
    wide = te.compute(
        (*head, blocking.lanes),
        lambda *at: te.sum(
            in_bytes[(*at[:-1], kh0, kw0, n0, at[-1])].astype(
                "uint16" if largest < 1 << 16 else "uint32"
            ),
            axis=[kh0, kw0, n0],
        ),
        name="wide_acc",
        attrs=notes("total"),
    )
    return te.compute(
        wide.shape, lambda *at: wide[at].astype("int32"), name="acc", attrs=notes("sums")
    )


_BYTE_AXES = ("kh1", "kw1", "n1")
_WIDE_AXES = ("kh0", "kw0", "n0")


def _codes(words: te.Tensor) -> te.Tensor:
    """Offsets of the rows that the activations select: uint8 ``[B, H, W, P, G, 8 * C]``."""

    def value(*at: Expr) -> Expr:
        *outer, n = at
        word = words[(*outer, tirx.indexdiv(n, NIBBLES))]
        shift = (tirx.indexmod(n, NIBBLES) * 4).astype("uint32")
        return (((word >> shift) & tirx.const(15, "uint32")) << tirx.const(4, "uint32")).astype(
            "uint8"
        )

    return te.compute(
        (*words.shape[:-1], words.shape[-1] * NIBBLES), value, name="codes", attrs=notes("rows")
    )
