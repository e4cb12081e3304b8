"""Binary bases of weights and activations, and the packing of bits into words.

Source: Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network", NIPS 2017,
sections 3.1 (weights) and 3.2 (activations). ``sign(0)`` is +1 everywhere here, as the paper's
step function is ``>=``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abc_tvm.errors import InputError

FloatArray = npt.NDArray[np.floating]
MOST_MULTIPLES = 127
"""Largest sum of integers that a signed byte holds."""

WORD_BITS = 32


def basis_shifts(M: int) -> npt.NDArray[np.float64]:
    """The paper's shifts ``u_i = -1 + 2(i-1)/(M-1)``, float64 ``[M]``; ``[0]`` when M is 1.

    Raises :class:`InputError` when M is below 1.
    """
    if M < 1:
        raise InputError(f"M is {M}: give at least one weight basis")
    return np.zeros(1) if M == 1 else np.linspace(-1.0, 1.0, M)


def weight_bases(W: npt.ArrayLike, M: int, u: npt.ArrayLike | None = None) -> FloatArray:
    """The bases ``B_i = sign(W - mean(W) + u_i * std(W))``.

    ``W``: real weights of any shape. ``u``: ``[M]`` shifts in units of the standard deviation;
    without it, :func:`basis_shifts`. Mean and standard deviation (of the population) are taken
    over the whole tensor in float64. Returns ``[M, *W.shape]`` of +1 and -1 in W's float dtype
    (float64 for integers). Raises :class:`InputError` when u has not M entries.
    """
    weights = np.asarray(W)
    shifts = basis_shifts(M) if u is None else np.asarray(u, dtype=np.float64)
    if shifts.shape != (M,):
        raise InputError(f"u has shape {shifts.shape}: give one shift for each of {M} bases")
    dtype = weights.dtype if np.issubdtype(weights.dtype, np.floating) else np.dtype(np.float64)
    exact = weights.astype(np.float64)
    centred = exact - exact.mean()
    shifted = centred[None] + shifts.reshape(-1, *([1] * weights.ndim)) * exact.std()
    return np.where(shifted >= 0, 1.0, -1.0).astype(dtype)


def solve_alpha(
    W: npt.ArrayLike, B: npt.ArrayLike, per_channel: bool = False
) -> npt.NDArray[np.float64]:
    """Coefficients that minimise ``|| W - sum_m alpha_m B_m ||`` (paper, equation 2).

    ``W``: ``[O, ...]``; ``B``: ``[M, O, ...]``. Returns float64 ``[M]``, or ``[M, O]`` with
    ``per_channel``, where each output channel is solved alone. Linearly dependent bases get
    the solution of least norm. Raises :class:`InputError` when the shapes do not belong together.
    """
    weights = np.asarray(W, dtype=np.float64)
    bases = np.asarray(B, dtype=np.float64)
    if bases.shape[1:] != weights.shape:
        raise InputError(f"B has shape {bases.shape}: expected [M, {weights.shape}] for these W")
    M = bases.shape[0]
    if not per_channel:
        solution = np.linalg.lstsq(bases.reshape(M, -1).T, weights.reshape(-1), rcond=None)[0]
        return np.asarray(solution, dtype=np.float64)
    alpha = np.empty((M, weights.shape[0]))
    for channel in range(weights.shape[0]):
        columns = bases[:, channel].reshape(M, -1).T
        alpha[:, channel] = np.linalg.lstsq(columns, weights[channel].reshape(-1), rcond=None)[0]
    return alpha


def activation_bases(R: npt.ArrayLike, v: npt.ArrayLike) -> FloatArray:
    """The bases ``A_n = 2 * [clip(R + v_n, 0, 1) >= 0.5] - 1``.

    ``R``: real activations of any shape. ``v``: ``[N]`` shifts, one for the whole tensor each.
    The addition is rounded in R's own float dtype, as a network in that dtype does; a NaN gives
    -1. Returns ``[N, *R.shape]`` of +1 and -1 in R's float dtype (float64 for integers).
    Raises :class:`InputError` when v is no vector.
    """
    real = np.asarray(R)
    shifts = np.asarray(v)
    if shifts.ndim != 1:
        raise InputError(f"v has shape {shifts.shape}: give a vector, one shift for each basis")
    dtype = real.dtype if np.issubdtype(real.dtype, np.floating) else np.dtype(np.float64)
    columns = shifts.astype(dtype).reshape(-1, *([1] * real.ndim))
    clipped = np.clip(real.astype(dtype)[None] + columns, 0, 1)
    return np.where(clipped >= 0.5, 1.0, -1.0).astype(dtype)


def on_grid(scales: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """α or β ``[n]`` rounded to multiples of a power of two, 127 in all at most.

    Float32; such scales are what bytes hold exactly, and products and sums of them are exact.
    """
    values = np.asarray(scales, np.float64)
    total = float(np.abs(values).sum())
    if total == 0:
        return values.astype(np.float32)
    unit = 2.0 ** np.ceil(np.log2(total / (MOST_MULTIPLES - len(values) / 2)))
    return (np.rint(values / unit) * unit).astype(np.float32)


def pack_bits(bits: npt.ArrayLike, axis: int) -> npt.NDArray[np.uint32]:
    """Pack truth values along ``axis`` into uint32 words, 32 to a word.

    Little-endian: entry c becomes bit ``c % 32`` of word ``c // 32``. Non-zero counts as 1, so
    pack ±1 values as ``pack_bits(values > 0, axis)``. The axis of length C becomes
    ``ceil(C / 32)``; the unused high bits of the last word are 0.
    """
    moved = np.moveaxis(np.asarray(bits) != 0, axis, -1)
    count = moved.shape[-1]
    words = -(-count // WORD_BITS)
    padded = np.zeros((*moved.shape[:-1], words * WORD_BITS), dtype=np.uint32)
    padded[..., :count] = moved
    lanes = padded.reshape(*moved.shape[:-1], words, WORD_BITS)
    packed = np.bitwise_or.reduce(lanes << np.arange(WORD_BITS, dtype=np.uint32), axis=-1)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis))


def unpack_bits(words: npt.ArrayLike, axis: int, count: int) -> npt.NDArray[np.bool_]:
    """The ``count`` bits along ``axis`` that :func:`pack_bits` packed, as booleans.

    ``words``: uint32. Raises :class:`InputError` when the words hold fewer than ``count`` bits.
    """
    moved = np.moveaxis(np.asarray(words, dtype=np.uint32), axis, -1)
    if count > moved.shape[-1] * WORD_BITS:
        raise InputError(f"{count} bits asked for, but {moved.shape[-1]} words hold fewer")
    lanes = (moved[..., None] >> np.arange(WORD_BITS, dtype=np.uint32)) & np.uint32(1)
    bits = lanes.reshape(*moved.shape[:-1], -1)[..., :count].astype(np.bool_)
    return np.ascontiguousarray(np.moveaxis(bits, -1, axis))
