"""How the index of a step function is written in bit planes.

``thermometer``: plane ``p`` is ``index > p``; the level is ``levels[0] + sum_p (levels[p + 1] -
levels[p]) * bit_p``. ``binary``: for uniform levels, plane ``p`` is bit ``p`` of the index, with
weight ``2**p * step``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abc_tvm.relay_passes.analysis.rounding import is_same


@dataclass(frozen=True)
class Code:
    """``level = base + sum_p weights[p] * bit_p``."""

    kind: str
    base: float
    weights: tuple[float, ...]

    @property
    def planes(self) -> int:
        return len(self.weights)


def thermometer(levels: np.ndarray) -> Code:
    """One plane a threshold."""
    wide = levels.astype(np.float64)
    return Code("thermometer", float(wide[0]), tuple(float(d) for d in np.diff(wide)))


def best_code(levels: np.ndarray) -> Code:
    """Fewest planes that give these levels."""
    steps = thermometer(levels)
    count = len(levels) - 1
    bits = int(count).bit_length()
    wide = levels.astype(np.float64)
    step = (wide[-1] - wide[0]) / max(count, 1)
    even = is_same(wide[0] + step * np.arange(count + 1), wide, np.abs(wide).max())
    if bits < count and even.all():
        return Code("binary", float(wide[0]), tuple(step * 2**p for p in range(bits)))
    return steps
