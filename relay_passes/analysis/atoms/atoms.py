"""Which values a tensor takes with a probability above zero, its atoms; and how those combine.

A value that is spread continuously meets a threshold by accident. A value with an atom there meets
it all the time, and must have the graph's own level (``Sign(0)`` is 0). Of a tensor is said:

* ``anywhere``: any value may be an atom. So it is with network inputs, of which nothing is known.
* ``grids``: families of single values (see :mod:`.grids`): bounds of ReLU, Clip, Max and Min, what
  Pad writes, levels of steps, the integers behind Cast, Round and comparisons, and every
  ``alpha * D`` of an exact integer sum.
* ``loose``: whether there is a continuous part beside them.

Tensors that know nothing of one another combine here: what one of them may be (:func:`together`),
their sums (:func:`summed`) and products (:func:`product`), and a function of one (:func:`scaled`).
Which operators do that to which tensors, :mod:`.atom_analysis` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from abc_tvm.relay_passes.analysis.atoms.grids import (
    FAR,
    MOST_GRIDS,
    Grid,
    added,
    common_unit,
    mapped,
    multiples,
    points,
)

FINEST = 2.0**-8
"""What unknown inputs are multiples of, where sums of them are asked for."""

MOST_POINTS = 1024
"""Constants of more values count as spread out."""


@dataclass(frozen=True)
class Atoms:
    """The atoms of one tensor: ``anywhere`` (bool, ``[1]`` or ``[C]``), on ``grids``, or in none.

    ``loose``: whether there is a continuous part beside them.
    """

    anywhere: np.ndarray
    grids: tuple[Grid, ...] = ()
    loose: bool = True

    def at(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """bool ``[C]``: whether an atom may lie in ``first .. last`` (float32 ``[C]``)."""
        met = np.broadcast_to(self.anywhere, first.shape).copy()
        for grid in self.grids:
            if met.all():
                break
            met |= grid.hits(first, last)
        return met

    def zero(self) -> bool:
        """Whether 0 may be an atom in any channel."""
        width = max([len(self.anywhere)] + [g.count for g in self.grids if g.aligned])
        zero = np.zeros(width, np.float32)
        return bool(self.at(zero, zero).any())

    def spread(self) -> Atoms:
        """The same atoms in every channel: what is left where channels move."""
        return Atoms(
            np.array([self.anywhere.any()]), tuple(g.everywhere() for g in self.grids), self.loose
        )


NOWHERE = Atoms(np.array([False]))
ANYWHERE = Atoms(np.array([True]))
ZERO = Atoms(np.array([False]), (points(np.zeros(1)),))
"""Spread out, but for 0."""


def integers() -> Grid:
    """Every whole number that a 32-bit integer holds."""
    return all_multiples(1.0, 2.0**31, 1)


def all_multiples(unit: float, most: float, parts: int) -> Grid:
    """``unit * k / parts`` for whole ``|k| <= most``, in every channel."""
    high = np.array([min(most, FAR)]).astype(np.int64)
    return multiples(np.array([unit]), -high, high, aligned=False, parts=parts)


def one(value: float) -> np.ndarray:
    """float64 ``[1]``: a scale or an offset of all channels, for :func:`scaled`."""
    return np.array([value], np.float64)


def of_constant(array: np.ndarray) -> Atoms:
    """The values of a stored tensor; channel by channel where it has one for each."""
    if array.dtype == bool:
        array = array.astype(np.float32)
    if array.size > 1 and array.shape[-1] == array.size:
        return Atoms(np.array([False]), (points(array.reshape(-1), True),), False)
    values = np.unique(array)
    if len(values) > MOST_POINTS:
        return ZERO if np.any(values == 0) else NOWHERE
    return Atoms(np.array([False]), (points(values),), False)


def together(parts: list[Atoms]) -> Atoms:
    """Whatever one of several tensors may be."""
    anywhere = parts[0].anywhere
    for part in parts[1:]:
        same = len(part.anywhere) == len(anywhere) or 1 in (len(part.anywhere), len(anywhere))
        anywhere = (
            anywhere | part.anywhere if same else np.array([anywhere.any() or part.anywhere.any()])
        )
    widths = {g.count for p in parts for g in p.grids if g.aligned}
    grids = tuple(g if len(widths) < 2 else g.everywhere() for p in parts for g in p.grids)
    return pruned(Atoms(anywhere, grids, any(p.loose for p in parts)))


def summed(a: Atoms, b: Atoms) -> Atoms:
    """Sums of values that know nothing of one another."""
    free = [x.anywhere.any() and (y.anywhere.any() or bool(y.grids)) for x, y in ((a, b), (b, a))]
    if any(free):
        return replace(ANYWHERE, loose=a.loose or b.loose)
    grids: list[Grid] = []
    for first in a.grids:
        for second in b.grids:
            both = added(first, second)
            if both is None:
                return replace(ANYWHERE, loose=a.loose or b.loose)
            grids += both
    return pruned(Atoms(np.array([False]), tuple(grids), a.loose or b.loose))


def product(first: Atoms, second: Atoms) -> Atoms:
    """Products, or sums of them: 0 where a factor is 0; whole numbers where both are."""
    if not (first.loose or second.loose):
        return replace(ANYWHERE, loose=False)
    sides = (first, second)
    if all(s.anywhere.any() or s.grids for s in sides):
        return ANYWHERE
    return ZERO if any(s.zero() for s in sides) else NOWHERE


def scaled(
    kept: Atoms,
    function: Callable[[np.ndarray], np.ndarray],
    scale: np.ndarray,
    offset: np.ndarray,
    channels: int | None,
) -> Atoms:
    """``function(value)``, which is about ``scale * value + offset`` (see :func:`grids.mapped`)."""
    grids = [mapped(g, function, scale, offset, channels) for g in kept.grids]
    if any(g is None for g in grids):
        return replace(ANYWHERE, loose=kept.loose)
    return replace(kept, grids=tuple(g for g in grids if g is not None))


def pruned(atoms: Atoms) -> Atoms:
    """No more grids than are worth following: those of short numbers become one."""
    if len(atoms.grids) <= MOST_GRIDS:
        return atoms
    unit, most = input_unit(replace(atoms, anywhere=np.array([False])))
    grids = () if unit is None else (all_multiples(unit, most, 1),)
    return replace(atoms, grids=grids)


def input_unit(atoms: Atoms) -> tuple[float | None, float]:
    """``(unit, most)``: atoms that are short numbers are ``unit * k`` with ``|k| <= most``."""
    if atoms.anywhere.any():
        return FINEST, 2.0**20
    numbers, top = [], 0.0
    for grid in atoms.grids:
        there = grid.low <= grid.high
        pair = np.stack([grid.unit[there], grid.shift[there]])
        columns = np.unique(pair, axis=1)
        numbers.append(columns[:, np.isfinite(common_unit(columns)) & columns.any(0)].reshape(-1))
        top = max(top, grid.largest())
    values = np.concatenate(numbers) if numbers else np.zeros(0)
    if not values.size:
        return None, 0.0
    unit = float(common_unit(values))
    return (unit, top / unit) if np.isfinite(unit) and unit > 0 else (None, 0.0)


def embedded(grid: Grid, place: slice, total: int) -> Grid:
    """A grid of some channels among all."""

    def wide(values: np.ndarray, fill: int) -> np.ndarray:
        out = np.full(total, fill, values.dtype)
        out[place] = values
        return out

    inner = grid.value

    def value(k: np.ndarray) -> np.ndarray:
        out = np.full(k.shape, np.nan, np.float32)
        out[..., place] = inner(k[..., place])
        return out

    unit, shift = wide(grid.unit, 0), wide(grid.shift, 0)
    return Grid(unit, shift, wide(grid.low, 0), wide(grid.high, -1), value, True)
