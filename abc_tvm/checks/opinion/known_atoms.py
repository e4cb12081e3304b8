"""Atoms of a tensor, as far as the checker knows them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class KnownAtoms:
    """Values of a root that many of its elements share, so that a tie there is no accident.

    ``everywhere``: any value may be one. ``scales``: multiples of these. ``values``: these.
    ``parts``: atoms of the channels ``start`` to ``stop`` alone, where several tensors were put
    together; the last ``stop`` is the number of channels.
    """

    everywhere: bool = False
    scales: tuple[float, ...] = ()
    values: frozenset[float] = frozenset()
    parts: tuple[tuple[int, int, KnownAtoms], ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any in every channel."""
        return bool(self.everywhere or self.scales or self.values)

    def whole(self) -> KnownAtoms:
        """Those of every channel, whatever order the channels get."""
        return replace(self, parts=())

    def at(self, x: np.ndarray) -> np.ndarray:
        """Which elements ``[..., C]`` are atoms."""
        atoms = self._everywhere_at(x)
        if self.parts and x.shape[-1] == self.parts[-1][1]:
            for start, stop, inner in self.parts:
                atoms[..., start:stop] |= inner.at(x[..., start:stop])
        return atoms

    def _everywhere_at(self, x: np.ndarray) -> np.ndarray:
        if self.everywhere:
            return np.ones(x.shape, bool)
        atoms = np.isin(x, np.array(sorted(self.values), np.float32))
        for scale in self.scales:
            whole = np.rint(x.astype(np.float64) / scale)
            atoms |= whole.astype(np.float32) * np.float32(scale) == x
        return atoms
