"""When two numbers are one up to float32 rounding, and which are too large or small to be folded.

A number is known to its *own* rounding. One that the graph has summed up from larger terms
(``alpha_1 - alpha_2``, ``2 * k / 15 - 1``) carries the rounding of these as well, however small it
came out: that much is granted too, as long as it stays a small part of the number itself. So a
weight of 0.45 stays one beside 1e8, and 0 is never joined with a number.

A pass that multiplies two constants of the graph moves a factor past the sums in between. What was
finite there may then overflow (1e38 times a partial sum), and what had 24 bits loses them below
2^-126. So constants are folded only where they and their products are ``in_range``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OWN = 2.0**-21
"""Relative to the number: a few roundings of float32."""

TERMS = 2.0**-22
"""Relative to the terms that it is the sum of."""

PART = 2.0**-9
"""The most that the rounding of terms may be of the number itself; else none of it is granted.

Two scales of a trained layer may be nearly equal: of 19 layers of M = 2 with random weights seven
had a smallest weight 1,800 to 5,800 times below the largest.
"""

LARGE = 2.0**100
"""Sums of 2^27 numbers of this size are floats."""

NORMAL = 2.0**-126
"""Smaller floats have fewer bits."""


def in_range(values: np.ndarray, least: float = 0.0) -> bool:
    """Whether all numbers are 0, or between ``least`` and ``LARGE`` in size; NaN is not."""
    size = np.abs(values)
    return bool(np.all((size == 0) | ((size >= least) & (size <= LARGE))))


def is_same(found: np.ndarray, wanted: np.ndarray, terms: Any) -> np.ndarray:
    """Whether ``found`` is ``wanted`` up to rounding; bool, element by element.

    ``terms``: size of the terms that ``wanted`` may be the sum of (broadcasts). A ``wanted`` of 0
    may be found as what is small beside the least other one along the first axis.
    """
    nothing = (wanted != 0) & (found == 0)
    return np.asarray((np.abs(found - wanted) <= allowed(wanted, terms)) & ~nothing)


def allowed(wanted: np.ndarray, terms: Any) -> np.ndarray:
    """What a number may differ by from each that is ``wanted``, to be it up to rounding."""
    size = np.abs(wanted)
    least = np.min(np.where(size > 0, size, np.inf), axis=0, initial=np.inf)
    part = PART * np.where(size > 0, size, np.where(np.isfinite(least), least, 0.0))
    granted = TERMS * np.asarray(terms)
    return np.asarray(np.maximum(OWN * size, np.where(granted <= part, granted, 0.0)))
