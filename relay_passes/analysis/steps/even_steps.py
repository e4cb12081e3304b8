"""Steps of about one size: how many thresholds a value passes, without comparing it with each.

Thresholds ``t_1 <= … <= t_N`` of a uniform quantizer lie near a line, so that
``g(x) = floor(scale * x + offset)`` is the number that ``x`` passes, or one less. One comparison,
with threshold ``g + 1``, tells which: the result is exact whatever the rounding of ``g``, as long
as that stays within these two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MANY = 20
"""Fewer thresholds are compared one by one, which is as quick: 15 are 4 % quicker so in a small
layer of bytes, 23 are 4 % slower and 255 six times (AVX-512)."""

FAR = 2.0**30
"""A whole threshold as large as this is never passed, or always."""

ROUNDING = 2.0**-22
"""Bound of the error of ``g`` before its floor, of the sizes that are added up: twice what float32
makes of the conversion of an integer and a product, and four times what it makes of the sum."""


@dataclass(frozen=True)
class EvenSteps:
    """``g(x)`` for each channel; ``low`` and ``high`` bound it: thresholds at infinity.

    ``scale`` and ``offset`` float32 ``[C]``, ``low`` and ``high`` int ``[C]``.
    """

    scale: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def passed_or_one_less(self, x: np.ndarray) -> np.ndarray:
        """NumPy meaning: int ``[…, C]`` of float32 ``[…, C]``."""
        with np.errstate(all="ignore"):
            line = x * self.scale + self.offset
            bounded = np.fmin(np.fmax(line, np.float32(self.low)), np.float32(self.high))
        return np.floor(bounded).astype(np.int64)


def even_steps(thresholds: np.ndarray) -> EvenSteps | None:
    """The line near thresholds ``[N, C]``, floats or integers, ascending along N.

    ``None`` where they are few, or some channel's lie half a step or more away from every line
    that was tried: then each is to be compared.
    """
    count = len(thresholds)
    if count < MANY:
        return None
    t = thresholds.astype(np.float64)
    far = np.inf if np.issubdtype(thresholds.dtype, np.floating) else FAR
    low, never = (t <= -far).sum(0), (t >= far).sum(0)
    last = count - never
    channels = np.arange(t.shape[1])
    there = (np.arange(count)[:, None] >= low) & (np.arange(count)[:, None] < last)
    size = np.where(there, np.abs(t), 0).max(0)
    if size.max(initial=0) > np.finfo(np.float32).max / 2:
        return None
    several = last - low > 1
    ends = [np.where(several, t[np.clip(i, 0, count - 1), channels], i) for i in (low, last - 1)]
    rise = np.where(several, ends[1] - ends[0], 1.0)
    if np.any(rise <= 0):
        return None
    scale = np.where(several, (last - 1 - low) / rise, 0.0).astype(np.float32)
    # Threshold number k (from 1) is to lie at k - 1/2: in the middle of what is right there.
    wanted = np.arange(count)[:, None] + 0.5
    rest = np.where(there, wanted - np.where(there, t, 0) * scale.astype(np.float64), np.nan)
    none = last <= low
    rest[:, none] = low[none] + 0.5
    offset = ((np.nanmax(rest, 0) + np.nanmin(rest, 0)) / 2).astype(np.float32)
    off = np.nanmax(np.abs(rest - offset.astype(np.float64)), 0)
    error = ROUNDING * (np.abs(scale) * size + count)
    if not np.all(off + error < 0.5):
        return None
    high = np.minimum(last, count - 1)
    return EvenSteps(scale, offset, np.minimum(low, high), high)
