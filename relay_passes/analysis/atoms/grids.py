"""Points that carry probability, channel by channel: what :mod:`.atoms` says of a tensor.

A :class:`Grid` is a family of float32 values near ``shift + unit * k`` for integers ``k``: one
point (``unit`` 0), or all multiples that an integer sum can take. ``value(k)`` gives the very
float32, computed by the operators of the graph, so that the question whether a grid meets an
interval has an exact answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Value = Callable[[np.ndarray], np.ndarray]
"""``value(k)``: float32 of integers ``k [..., V]``."""

CANDIDATES = 8
"""An interval that holds more multiples than this is met; fewer are evaluated."""

MOST_VARIANTS = 2**16
"""Grids of more variants are not followed."""

MOST_GRIDS = 48
"""A tensor with more grids keeps those of short numbers."""

SHORT = 2.0**12
"""Numbers of which one is at most this many times another's unit stand on a common grid."""

FAR = 2**40


@dataclass(frozen=True)
class Grid:
    """Families of values, one for each variant: float64 ``[V]``; ``low``, ``high`` int64 ``[V]``.

    Where ``aligned`` the variants are the channels (the last axis), else each holds in every one.
    A variant with ``low > high`` is none.
    """

    unit: np.ndarray
    shift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    value: Value
    aligned: bool

    @property
    def count(self) -> int:
        return len(self.unit)

    def hits(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """bool ``[C]``: whether a value lies in ``first <= value <= last``, float32 ``[C]``."""
        a, b = (v.astype(np.float64) for v in (first, last))
        if not self.aligned:
            a, b = a[:, None], b[:, None]
        near = 2.0**-20 * (np.maximum(np.abs(a), np.abs(b)) + np.abs(self.shift))
        step = np.where(self.unit == 0, 1.0, self.unit)
        with np.errstate(invalid="ignore"):
            ends = ((a - near - self.shift) / step, (b + near - self.shift) / step)
        low, high = np.minimum(*ends), np.maximum(*ends)
        # What is no number lies nowhere.
        low, high = np.where(np.isnan(low), FAR, low), np.where(np.isnan(high), -FAR, high)
        least = np.ceil(np.clip(low, -FAR, FAR) - 1e-6).astype(np.int64)
        most = np.floor(np.clip(high, -FAR, FAR) + 1e-6).astype(np.int64)
        point = self.unit == 0
        least = np.where(point, self.low, np.maximum(least, self.low))
        most = np.where(point, np.minimum(self.low, self.high), np.minimum(most, self.high))
        hit = most - least >= CANDIDATES
        if np.any(most >= least):
            for offset in range(CANDIDATES):
                k = least + offset
                valid = k <= most
                if not valid.any():
                    break
                with np.errstate(all="ignore"):
                    v = self.value(k)
                hit = hit | (valid & (v >= a) & (v <= b))
        return np.asarray(hit if self.aligned else hit.any(-1))

    def largest(self) -> float:
        """Largest size of a value, about."""
        there = self.low <= self.high
        ends = [np.abs(self.shift + self.unit * k)[there] for k in (self.low, self.high)]
        return float(np.concatenate(ends).max(initial=0))

    def everywhere(self) -> Grid:
        """The same values, in every channel."""
        return replace(self, aligned=False)


def points(values: np.ndarray, aligned: bool = False) -> Grid:
    """Single values: float32 ``[V]``."""
    exact = np.asarray(values, np.float32)
    zero = np.zeros(len(exact), np.int64)

    def value(k: np.ndarray) -> np.ndarray:
        return np.broadcast_to(exact, np.broadcast_shapes(k.shape, exact.shape))

    wide = exact.astype(np.float64)
    return Grid(np.zeros(len(exact)), wide, zero, zero, value, aligned)


def multiples(
    unit: np.ndarray, low: np.ndarray, high: np.ndarray, *, aligned: bool, parts: int = 1
) -> Grid:
    """``unit * k / parts``; ``unit`` float32 ``[V]``."""
    exact = np.asarray(unit, np.float32)

    def value(k: np.ndarray) -> np.ndarray:
        whole = k.astype(np.float32) * exact
        return whole if parts == 1 else whole / np.float32(parts)

    wide = exact.astype(np.float64) / parts
    low, high = (np.broadcast_to(v, wide.shape).astype(np.int64) for v in (low, high))
    return Grid(wide, np.zeros(len(wide)), low, high, value, aligned)


def sums(scale: np.ndarray, bound: np.ndarray, even: bool) -> Grid:
    """``scale * D`` with ``|D| <= bound``, ``D`` of the parity of ``bound`` where ``even``."""
    exact = np.asarray(scale, np.float32)
    odd = bound % 2 if even else np.zeros_like(bound)
    step = 2 if even else 1

    def value(k: np.ndarray) -> np.ndarray:
        return np.asarray((k * step + odd).astype(np.float32) * exact)

    wide = exact.astype(np.float64)
    return Grid(
        wide * step, wide * odd, -((bound + odd) // step), (bound - odd) // step, value, True
    )


def mapped(
    grid: Grid,
    function: Callable[[np.ndarray], np.ndarray],
    scale: np.ndarray,
    offset: np.ndarray,
    channels: int | None,
) -> Grid | None:
    """The grid of ``function(value)``, which is about ``scale * value + offset``.

    ``scale`` and ``offset`` float64 ``[1]``, or ``[C]`` where they differ by channel, and so does
    ``function`` then. ``None`` where that makes too many variants.
    """
    wide = max(len(scale), len(offset))
    inner = grid.value
    if wide == 1 or grid.count == 1 or grid.aligned:
        unit, shift = grid.unit * scale, grid.shift * scale + offset
        unit, shift, low, high = np.broadcast_arrays(unit, shift, grid.low, grid.high)
        aligned = grid.aligned or wide > 1
        return Grid(unit, shift, low, high, lambda k: _f32(function(inner(k))), aligned)
    if channels is None or grid.count * wide > MOST_VARIANTS:
        return None
    count = grid.count

    def value(k: np.ndarray) -> np.ndarray:
        k = np.broadcast_to(k, (*k.shape[:-1], count * wide))
        split = np.moveaxis(k.reshape(*k.shape[:-1], count, wide), -2, -1)
        there = np.moveaxis(inner(split), -1, -2)
        return np.asarray(_f32(function(there)).reshape(k.shape))

    unit = np.broadcast_to(grid.unit[:, None] * scale, (count, wide)).reshape(-1)
    shift = np.broadcast_to(grid.shift[:, None] * scale + offset, (count, wide)).reshape(-1)
    low, high = (np.repeat(v, wide) for v in (grid.low, grid.high))
    return Grid(unit, shift, low, high, value, False)


def _f32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).astype(np.float32, copy=False)


def added(a: Grid, b: Grid) -> list[Grid] | None:
    """Sums of a value of each; ``None`` where they are too many to be followed.

    Two grids of incommensurate units meet a given float by accident; only the sum of their
    values at 0 is kept.
    """
    together = a.aligned and b.aligned and a.count == b.count
    if not together and a.count > 1 and b.count > 1:
        if a.count * b.count > MOST_VARIANTS:
            return None
        a, b = _outer(a, b.count, False), _outer(b, a.count, True)
    if not np.any(b.unit):
        a, b = b, a
    first, second = a.value, b.value
    aligned = a.aligned or b.aligned
    shape = np.broadcast_shapes(a.unit.shape, b.unit.shape)
    there = (a.low <= a.high) & (b.low <= b.high)
    if not np.any(a.unit):
        zero = np.zeros(shape, np.int64)
        low, high = np.where(there, b.low, 1), np.where(there, b.high, 0)
        unit, shift = np.broadcast_to(b.unit, shape), a.shift + b.shift
        value: Value = lambda k: first(zero) + second(k)  # noqa: E731
        return [Grid(unit, shift, low, high, value, aligned)]
    pair = np.broadcast_arrays(a.unit, a.shift, b.unit, b.shift)
    unit = common_unit(np.stack([np.abs(p) for p in pair]))
    if np.all((unit > 0) | ~there):
        unit = np.where(unit > 0, unit, 1.0)
        far = [
            np.maximum(np.abs(g.shift + g.unit * g.low), np.abs(g.shift + g.unit * g.high))
            for g in (a, b)
        ]
        most = np.minimum(np.ceil((far[0] + far[1]) / unit), FAR).astype(np.int64)
        exact = unit.astype(np.float32)
        low, high = np.where(there, -most, 1), np.where(there, most, 0)
        lattice = multiples(exact, low, high, aligned=aligned)
        return [lattice]
    centre = there & (a.low <= 0) & (a.high >= 0) & (b.low <= 0) & (b.high >= 0)
    zero = np.zeros(shape, np.int64)
    both = np.asarray(first(zero) + second(zero), np.float32)
    single = points(np.broadcast_to(both, shape), aligned)
    return [replace(single, high=np.where(centre, 0, -1))]


def _outer(grid: Grid, times: int, tiled: bool) -> Grid:
    """Every variant with every one of another grid."""
    index = np.arange(grid.count)
    index = np.tile(index, times) if tiled else np.repeat(index, times)
    inner, count = grid.value, grid.count

    def value(k: np.ndarray) -> np.ndarray:
        k = np.broadcast_to(k, (*k.shape[:-1], len(index)))
        shape = (*k.shape[:-1], times, count) if tiled else (*k.shape[:-1], count, times)
        split = k.reshape(shape)
        if tiled:
            return np.asarray(inner(split).reshape(k.shape))
        there = inner(np.moveaxis(split, -1, -2))
        return np.asarray(np.moveaxis(there, -1, -2).reshape(k.shape))

    unit, shift, low, high = (v[index] for v in (grid.unit, grid.shift, grid.low, grid.high))
    return Grid(unit, shift, low, high, value, False)


def common_unit(values: np.ndarray) -> np.ndarray:
    """Largest number ``[...]`` of which ``values [n, ...]`` are whole multiples, exactly.

    0 where all are 0, NaN where none is a short number: at least ``1 / SHORT`` of the largest.
    """
    size = np.abs(np.asarray(values, np.float64))
    top = size.max(0, initial=0)
    safe = np.where((top > 0) & np.isfinite(top), top, 1.0)
    # Every number as a multiple of a power of two that is small beside the largest.
    quantum = 2.0 ** (np.floor(np.log2(safe)) - np.log2(SHORT))
    whole = size / quantum
    exact = np.all(whole == np.rint(whole), axis=0) & np.isfinite(top)
    together = np.gcd.reduce(np.where(exact, np.rint(whole), 0).astype(np.int64), axis=0)
    return np.asarray(np.where(exact, together * quantum, np.nan))
