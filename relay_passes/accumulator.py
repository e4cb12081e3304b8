"""When a convolution's value is a function of one integer per output channel.

With weights ``a_oc * z_m`` and levels ``u * z_q`` (``z`` integers) the convolution is
``f32(a_oc * u) * D`` with an integer ``D``: accumulation is exact, and thresholds on it are
integers. Every network with one weight base and one activation base is of this kind, and so are
k-bit networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_MULTIPLE = 256


@dataclass(frozen=True)
class Accumulator:
    """``value = scale[oc] * D``.

    ``scale`` float32 ``[OC]``; ``weight`` int ``[M]`` and ``level`` int ``[N + 1]`` are the
    integer multiples; ``bound`` int64 ``[OC]`` is the largest ``|D|``; ``even`` says that all
    reachable ``D`` have the parity of ``bound``.
    """

    scale: np.ndarray
    weight: np.ndarray
    level: np.ndarray
    bound: np.ndarray
    even: bool

    def value(self, count: np.ndarray) -> np.ndarray:
        """float32 value of the graph's convolution at accumulator ``count [..., OC]``."""
        return np.asarray(count.astype(np.float32) * self.scale)

    def threshold(self, t: np.ndarray) -> np.ndarray:
        """Smallest integer ``D`` per channel with ``value(D) >= t``; int64, clipped to reach.

        ``t`` float32 ``[OC]``. Exact: found by evaluating :meth:`value` on both sides.
        """
        low = -self.bound - 1
        high = self.bound + 1
        low, high = low.copy(), high.copy()
        while np.any(high - low > 1):
            middle = (low + high) // 2
            holds = self.value(middle) >= t
            high = np.where(holds, middle, high)
            low = np.where(holds, low, middle)
        return high


def integer_multiples(values: np.ndarray) -> tuple[float, np.ndarray] | None:
    """``(unit, integers)`` with ``values = unit * integers``, or ``None``."""
    values = values.astype(np.float64)
    size = np.abs(values)
    positive = np.concatenate([size[size > 0], np.abs(np.diff(np.sort(values)))])
    positive = positive[positive > 2.0**-20 * max(float(size.max(initial=0)), 1e-30)]
    if len(positive) == 0:
        return None
    for part in (1, 2, 3, 4):
        unit = float(positive.min()) / part
        whole = np.rint(values / unit)
        near = np.abs(whole * unit - values).max() <= 2.0**-21 * size.max()
        if near and np.abs(whole).max() <= MAX_MULTIPLE:
            return unit, whole.astype(np.int64)
    return None


def accumulator(
    planes: np.ndarray, alpha: np.ndarray, levels: np.ndarray, padded: bool
) -> Accumulator | None:
    """The integer form of a convolution, or ``None`` where it has none."""
    found = integer_multiples(levels)
    if found is None or np.any(alpha[0] < 0):
        return None
    unit, level = found
    if len(alpha) == 1:
        weight, base = np.ones(1, np.int64), alpha[0].astype(np.float64)
    else:
        column = integer_multiples(alpha[:, 0])
        if column is None:
            return None
        weight = column[1]
        base = alpha[0].astype(np.float64) / weight[0] if weight[0] else None
        if base is None or np.any(base < 0):
            return None
        close = np.abs(weight[:, None] * base - alpha) <= 2.0**-21 * np.abs(alpha).max()
        if not close.all():
            return None
    taps = int(np.prod(planes.shape[2:]))
    bound = np.full(planes.shape[1], taps * int(np.abs(weight).sum()) * int(np.abs(level).max()))
    odd = bool(np.all(level % 2 != 0)) and len(weight) == 1 and not padded
    scale = (base * unit).astype(np.float32)
    return Accumulator(scale, weight, level, bound.astype(np.int64), odd)
