"""Weights and levels of a convolution as bytes, for dot products of bytes.

*Exact*: where the weights of each output channel are integer multiples of one number, and the
levels too (see :mod:`.accumulator`), ``sum_k W_k A_k = scale * sum_k w_k (code_k - zero)`` with the
integers of both. Padded positions hold ``zero``, the code of 0, so borders need no correction.

*Rounded*: elsewhere the scales alpha and the levels are moved to the nearest multiples of a step
that is chosen for the least error. What that changes a sum by is bounded, for each output
channel, by ``sum_k |W_k| dA + dW_k (A + dA)``, with ``dA`` the largest error of a level, ``A``
the largest level, and ``dW_k`` that of the weight. The bound is given relative to
``sum_k |W_k| A``, the largest value that the sum can have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.relay_passes.analysis.weights.accumulator import accumulator
from abc_tvm.schedules.family import CodeType

from .candidate import Moved

LARGEST = 127
"""Weights are signed bytes, of one more below 0."""

SUM = 2**31 - 1
"""Sums are 32-bit."""


@dataclass(frozen=True)
class Int8Form:
    """``weights`` int8 ``[OC, KH, KW, IC/g]``; ``codes`` of the levels in their order; ``zero``.

    ``bound`` int64 ``[OC]`` as in :class:`.accumulator.Accumulator`, whose integer ``D`` is
    ``part * sum weights * (codes - zero)``; ``scale`` float32 ``[OC]`` is its scale, times
    ``part``.
    """

    weights: np.ndarray
    codes: tuple[int, ...]
    zero: int
    scale: np.ndarray
    bound: np.ndarray
    part: int = 1


def int8_form(
    planes: np.ndarray, alpha: np.ndarray, levels: np.ndarray, code: CodeType
) -> Int8Form | None:
    """The exact form of a convolution, or ``None`` where it has none.

    ``planes`` int8 ±1 ``[M, OC, KH, KW, IC/g]``, ``alpha`` float32 ``[M, OC]``, ``levels`` float32
    ``[N + 1]``.
    """
    exact = accumulator(planes, alpha, levels, padded=True)
    if exact is None:
        return None
    most = int(np.abs(exact.weight).sum(0).max(initial=0))
    weights = _combined(exact.weight.astype(np.min_scalar_type(-most - 1)), planes)
    # Planes of a half step twice (8-bit weights) count in halves, and only bits need those.
    part = 2 if not _are_bytes(weights) and not np.any(weights % 2) else 1
    weights //= part
    low = min(int(exact.level.min()), 0)
    high = max(int(exact.level.max()), 0)
    zero = -low if code == "uint8" else 0
    least, most = (0, 255) if code == "uint8" else (-128, 127)
    largest = int(np.abs(weights).max(initial=0))
    if not _are_bytes(weights) or low + zero < least or high + zero > most:
        return None
    taps = int(np.prod(weights.shape[1:]))
    if taps * largest * (high - low) > SUM:
        return None
    codes = tuple(int(n) + zero for n in exact.level)
    scale = exact.scale * np.float32(part)
    return Int8Form(weights.astype(np.int8), codes, zero, scale, exact.bound, part)


def rounded(planes: np.ndarray, alpha: np.ndarray, levels: np.ndarray, code: CodeType) -> Moved:
    """The nearest scales and levels that are multiples of a step, chosen for the least error.

    Levels that are all 0 stay as they are, and have none.
    """
    size = float(np.abs(levels).max())
    if size == 0:
        return Moved(alpha, levels, 0.0)
    spread = max(float(levels.max()), 0.0) - min(float(levels.min()), 0.0)
    steps = LARGEST if code == "int8" else int(255 * size / spread)
    near, level_error = _nearest_levels(levels.astype(np.float64), steps)
    columns, index = np.unique(alpha, axis=1, return_inverse=True)
    moved = np.stack([_nearest_scales(c) for c in columns.T.astype(np.float64)], axis=1)
    moved = moved[:, index.reshape(-1)]
    weight = _sizes(alpha.astype(np.float64), planes)
    shift = _sizes(moved - alpha, planes)
    each = weight * level_error + shift * (size + level_error)
    most = weight * size
    error = np.where(each == 0, 0.0, each / np.maximum(most, 1e-30)).max(initial=0)
    return Moved(moved.astype(np.float32), near.astype(np.float32), float(error))


def _combined(scales: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """``[OC, KH, KW, IC/g]``: ``sum_m scales[m] planes[m]``, in the dtype of ``scales``.

    Plane by plane: all of them as 8-byte numbers would be 8 M times the weights.
    """
    total = np.zeros(planes.shape[1:], scales.dtype)
    for scale, plane in zip(scales, planes, strict=True):
        total += scale.reshape(-1, *(1,) * (plane.ndim - 1)) * plane
    return total


def _are_bytes(weights: np.ndarray) -> bool:
    least, most = weights.min(initial=0), weights.max(initial=0)
    return bool(least >= -LARGEST - 1 and most <= LARGEST)


def _sizes(scales: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """``[OC]``: the sum of the absolute values of each channel of :func:`_combined`."""
    channels = range(len(scales[0]))
    return np.array(
        [np.abs(_combined(scales[:, c : c + 1], planes[:, c : c + 1])).sum() for c in channels]
    )


def _nearest_levels(levels: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Levels of which the largest is at most ``steps`` units, and the largest error."""
    near = _multiples(levels, float(np.abs(levels).max()), steps)
    errors = np.abs(near - levels).max(1)
    best = int(errors.argmin())
    return near[best], float(errors[best])


def _nearest_scales(column: np.ndarray) -> np.ndarray:
    """Scales whose sums of any signs are at most ``LARGEST`` units."""
    total = float(np.abs(column).sum())
    if total == 0:
        return column
    near = _multiples(column, total, LARGEST)
    units = total / np.arange(1, LARGEST + 1)
    fits = np.abs(near).sum(1) <= LARGEST * units * (1 + 1e-9)
    errors = np.where(fits, np.abs(near - column).sum(1), np.inf)
    return np.asarray(near[int(errors.argmin())])


def _multiples(values: np.ndarray, size: float, most: int) -> np.ndarray:
    """``[most, n]``: ``values`` rounded to multiples of ``size / k``, for every ``k``."""
    unit = size / np.arange(1, most + 1)[:, None]
    return np.asarray(np.rint(values[None] / unit) * unit)
