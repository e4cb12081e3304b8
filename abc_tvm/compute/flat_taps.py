"""Reductions over one flat axis: kernel rows, columns and words of the input, in steps of 8 words.

For processors whose matrix units take a run of the reduction at once (CUDA). The sums are those of
:mod:`.accumulate`; weights are packed in the order in which a step reads them. Every reduction
carries its geometry as the annotation ``GEOMETRY``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import te, tirx
from tvm.tirx import Expr

from .accumulate import Tile, pad_spatial
from .geometry import WORD, Window
from .int8_products import DOT, QUAD, code_slots, pack_quads
from .lanes import Blocking
from .roles import notes

STEP = 8
"""Words of the flat axis in one step."""

GEOMETRY = "abc_geometry"
"""Annotation of the reduction: see :func:`geometry`."""

_QUAD = 4
_NAMES = ("KH", "KW", "SH", "SW", "DH", "DW", "TOP", "LEFT", "H", "W", "OH", "OW", "G", "C", "NB")


def geometry(window: Window, blocking: Blocking, words: int) -> list[int]:
    """Kernel, stride, dilation, padding (top, left), image, output, groups, words, lane blocks."""
    return [
        *window.kernel,
        *window.stride,
        *window.dilation,
        *window.padding[:2],
        window.height,
        window.width,
        window.out_height,
        window.out_width,
        window.groups,
        words,
        blocking.blocks,
    ]


def named(values: list[int]) -> dict[str, int]:
    """:func:`geometry` by name."""
    return dict(zip(_NAMES, values, strict=True))


def steps(taps: int, words: int) -> int:
    """Steps of a reduction over ``taps`` of ``words`` each."""
    return -(-taps * words // STEP)


def in_rounds(
    pack: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, rounds: int
) -> np.ndarray:
    """``weights`` packed by ``pack`` in so many parts of their planes: ``[G*O, rounds, ...]``.

    ``weights`` ``[G*O, KH, KW, C, M, L]``, M a multiple of ``rounds``; without M only in one.
    """
    if rounds == 1:
        return pack(weights)[:, None]
    return np.stack([pack(part) for part in np.split(weights, rounds, 4)], 1)


def pack_flat(weights: np.ndarray) -> np.ndarray:
    """``[G*O, KH, KW, C, M, L]`` (or without M) to ``[G*O, 8 * steps, M, L]``, zeros at the end."""
    shape = weights.shape
    flat = weights.reshape(shape[0], -1, 1 if len(shape) == 5 else shape[4], shape[-1])
    surplus = -flat.shape[1] % STEP
    return np.pad(flat, [(0, 0), (0, surplus), (0, 0), (0, 0)])


def pack_codes(weights: np.ndarray, blocking: Blocking) -> np.ndarray:
    """int8 OHWI to uint32 ``[G*O, KH, KW, C, 32]``, a word the weights of four channels.

    ``C`` covers all slots of a tensor of codes; weights of slots without a channel are 0.
    """
    quads = pack_quads(weights, blocking)
    surplus = code_slots(weights.shape[3]) // QUAD - quads.shape[3]
    whole = np.pad(quads, [(0, 0), (0, 0), (0, 0), (0, surplus), (0, 0)])
    return np.ascontiguousarray(whole).view("<u4")


def pack_fragments(planes: np.ndarray) -> np.ndarray:
    """Weights in the order of a warp's registers, then their ones.

    ``planes`` uint32 ``[G*O, KH, KW, C, M, 32]``. Returns uint32
    ``[G*O, steps * M * 256 + M * 32]``: for each step and plane 32 lanes x 4 products x 2
    registers (:func:`_fragment` says which word is where), then the number of ones of each
    channel of each plane.
    """
    flat = pack_flat(planes)
    outer, _, m, _ = flat.shape
    ones = np.zeros((outer, m, WORD), np.uint32)
    for shift in range(WORD):
        ones += ((flat >> np.uint32(shift)) & 1).sum(1, dtype=np.uint32)
    return np.concatenate([fragments(flat), ones.reshape(outer, -1)], 1)


def fragments(flat: np.ndarray) -> np.ndarray:
    """``[G*O, 8 * steps, M, 32]`` words in the order of a warp's registers, ``[G*O, n]``."""
    outer, depth, m, _ = flat.shape
    word, plane, lane = np.meshgrid(np.arange(depth), np.arange(m), np.arange(WORD), indexing="ij")
    ordered = np.zeros((outer, depth * m * WORD), flat.dtype)
    ordered[:, _fragment(word, plane, lane, m)] = flat
    return ordered


def _fragment(word: Any, plane: Any, lane: Any, planes: int) -> Any:
    """Place of a word of a channel: works on arrays and on TE expressions alike.

    PTX ISA, ``mma.m16n8k256`` of bits and ``mma.m16n8k32`` of bytes: lane ``4 * n + q`` of a warp
    holds, of column ``n``, words ``q`` and ``q + 4``. Column ``2 * t + e`` of product ``j`` is
    channel ``8 * t + 2 * j + e``, so that a lane gets sums of eight neighbouring channels.
    """
    step, inner = word // STEP, word % STEP
    t, j, e = lane // 8, lane % 8 // 2, lane % 2
    register = (2 * t + e) * _QUAD + inner % _QUAD
    return ((step * planes + plane) * WORD + register) * 8 + j * 2 + inner // _QUAD


def flat_counts(
    bits: te.Tensor,
    weights: te.Tensor,
    planes: int,
    window: Window,
    blocking: Blocking,
    attrs: Mapping[str, object],
) -> te.Tensor:
    """The counts of :func:`.accumulate.popcounts`.

    ``bits`` uint32 ``[B, H, W, P, G, C]``; ``weights`` from :func:`in_rounds` of
    :func:`pack_flat` (five dimensions) or of :func:`pack_fragments` (three), of ``planes`` weight
    planes in all. Returns int32
    ``[B, OH, OW, G, O, M, P, L]``.
    """
    padded = pad_spatial(bits, window, Tile())
    kh, kw, c = _axes(window, int(bits.shape[5]))
    words = int(bits.shape[5])
    each = planes // int(weights.shape[1])
    (sh, sw), (dh, dw) = window.stride, window.dilation
    shape = (
        bits.shape[0],
        window.out_height,
        window.out_width,
        blocking.groups,
        blocking.blocks,
        planes,
        bits.shape[3],
        blocking.lanes,
    )

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, m: Expr, p: Expr, l: Expr) -> Expr:
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, p, g, c]
        outer, word = g * blocking.blocks + o, (kh * window.kernel[1] + kw) * words + c
        part, plane = m // each, m % each
        if len(weights.shape) == 5:
            v = weights[outer, part, word, plane, l]
        else:
            v = weights[outer, part, _fragment(word, plane, l, each)]
        return te.sum(tirx.popcount(a ^ v).astype("int32"), axis=[kh, kw, c])

    more = {GEOMETRY: geometry(window, blocking, words), **attrs}
    return te.compute(shape, value, name="acc", attrs=notes("sums", more))


def flat_products(
    data: te.Tensor,
    weights: te.Tensor,
    window: Window,
    blocking: Blocking,
    attrs: Mapping[str, object],
) -> te.Tensor:
    """The sums of :func:`.accumulate.products`.

    ``data`` float32 ``[B, H, W, G, C]``; ``weights`` float32 from :func:`in_rounds` of
    :func:`pack_flat`, in one. Returns float32 ``[B, OH, OW, G, O, L]``.
    """
    padded = pad_spatial(data, window, Tile())
    words = window.group_in
    kh, kw, c = _axes(window, words)
    (sh, sw), (dh, dw) = window.stride, window.dilation
    shape = blocking.shape(data.shape[0], window.out_height, window.out_width)

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, g, c]
        word = (kh * window.kernel[1] + kw) * words + c
        return te.sum(a * weights[g * blocking.blocks + o, 0, word, 0, l], axis=[kh, kw, c])

    more = {GEOMETRY: geometry(window, blocking, words), **attrs}
    return te.compute(shape, value, name="acc", attrs=notes("sums", more))


def flat_dots(
    codes: te.Tensor,
    weights: te.Tensor,
    window: Window,
    blocking: Blocking,
    attrs: Mapping[str, object],
) -> te.Tensor:
    """The sums of :func:`.int8_products.int8_products`, for codes that are 0 outside the image.

    ``codes`` int8 ``[B, H, W, G, S]``; ``weights`` int8, the bytes of :func:`in_rounds` of
    :func:`pack_flat` (five dimensions) or of :func:`fragments` (three), in one, of
    :func:`pack_codes`. Returns int32 ``[B, OH, OW, G, O, L]``.
    """
    padded = pad_spatial(codes, window, Tile())
    words = int(codes.shape[4]) // QUAD
    kh, kw, c = _axes(window, words)
    q = te.reduce_axis((0, QUAD), name="q")
    (sh, sw), (dh, dw) = window.stride, window.dilation
    shape = blocking.shape(codes.shape[0], window.out_height, window.out_width)

    def value(b: Expr, h: Expr, w: Expr, g: Expr, o: Expr, l: Expr) -> Expr:
        a = padded[b, h * sh + kh * dh, w * sw + kw * dw, g, c * QUAD + q]
        outer, word = g * blocking.blocks + o, (kh * window.kernel[1] + kw) * words + c
        if len(weights.shape) == 5:
            v = weights[outer, 0, word, 0, l * QUAD + q]
        else:
            v = weights[outer, 0, _fragment(word, 0, l, 1) * QUAD + q]
        return te.sum(a.astype("int32") * v.astype("int32"), axis=[kh, kw, c, q])

    more = {GEOMETRY: geometry(window, blocking, words), DOT: 1, **attrs}
    return te.compute(shape, value, name="acc", attrs=notes("sums", more))


def _axes(window: Window, words: int) -> tuple[te.IterVar, te.IterVar, te.IterVar]:
    kh, kw = window.kernel
    extents = (("kh", kh), ("kw", kw), ("c", words))
    a, b, c = (te.reduce_axis((0, extent), name=name) for name, extent in extents)
    return a, b, c
