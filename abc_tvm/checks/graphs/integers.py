"""Numbers that are integer multiples of one, and the sums that a layer of such can reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_UNITS = 256
"""More units than this in a number, and the multiples are an accident."""

UNIT_ROUNDING = 2.0**-21
"""Relative to the largest of the numbers."""


def unit_of(values: np.ndarray) -> tuple[float, np.ndarray] | None:
    """``(unit, integers)`` with ``values = unit * integers`` up to rounding; else ``None``."""
    values = np.asarray(values, np.float64)
    most = float(np.abs(values).max(initial=0))
    if most == 0:
        return None
    # The largest is k units, for the smallest k that fits.
    units = most / np.arange(1, MOST_UNITS + 1)[:, None]
    whole = np.rint(values[None] / units)
    fits = np.abs(whole * units - values[None]).max(1) <= UNIT_ROUNDING * most
    if not fits.any():
        return None
    k = int(fits.argmax())
    return float(units[k, 0]), whole[k].astype(np.int64)


@dataclass(frozen=True)
class IntegerSums:
    """The sums of a layer: ``scale[oc] * D``, ``D`` an integer.

    ``scale`` float32 ``[OC]``; reachable ``D`` are ``offset[oc] + step * k`` within
    ``±bound[oc]``.
    """

    scale: np.ndarray
    bound: np.ndarray
    offset: np.ndarray
    step: int

    def value(self, count: np.ndarray) -> np.ndarray:
        """float32 value at ``D [..., OC]``."""
        return np.asarray(count.astype(np.float32) * self.scale)

    def reachable(self, count: np.ndarray) -> np.ndarray:
        """The nearest reachable sums to some ``[P, OC]``."""
        low = -self.bound + (self.offset + self.bound) % self.step
        high = self.bound - (self.bound - self.offset) % self.step
        near = count - (count - self.offset) % self.step
        return np.asarray(np.clip(near, low, high))


def sums_of(
    planes: np.ndarray, alpha: np.ndarray, levels: np.ndarray, padded: bool
) -> IntegerSums | None:
    """The integer form of a layer, or ``None`` where it has none.

    ``planes`` integers ``[M, OC, taps]``, ``alpha [M, OC]``, ``levels`` all that its input takes.
    """
    level = unit_of(levels)
    if level is None:
        return None
    unit, whole = level
    scales, columns = np.empty(alpha.shape[1]), np.zeros(alpha.shape, np.int64)
    distinct, index = np.unique(alpha, axis=1, return_inverse=True)
    for i, column in enumerate(distinct.T.astype(np.float64)):
        multiples = unit_of(column)
        at = index.reshape(-1) == i
        scales[at] = 0 if multiples is None else multiples[0]
        columns[:, at] = 0 if multiples is None else multiples[1][:, None]
        if multiples is None and np.any(column):
            return None
    largest = np.abs(planes[:, :, :1]) if np.all(np.abs(planes) == 1) else np.abs(planes)
    taps = planes.shape[2] // largest.shape[2]
    sizes = largest.sum(2, dtype=np.int64) * taps
    bound = (np.abs(columns) * sizes).sum(0) * np.abs(whole).max()
    if bound.max(initial=0) >= 2**24:
        return None
    step, offset = 1, np.zeros(len(bound), np.int64)
    gaps = np.diff(np.sort(whole))
    gap = int(np.gcd.reduce(gaps)) if len(gaps) else 1
    if not padded and gap > 1:
        weight = (columns * planes.sum(2, dtype=np.int64)).sum(0)
        step, offset = gap, weight * int(whole[0])
    return IntegerSums((scales * unit).astype(np.float32), bound, offset, step)
