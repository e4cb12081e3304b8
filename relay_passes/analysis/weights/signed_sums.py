"""A few numbers as signed sums of fewer: ``values = codes @ alpha``, every code +1 or -1.

The ways that are tried; of those that give every number within its own rounding, as float32
scales, the one with the fewest scales is taken, and of these the first. Numbers that are integer
multiples of one step, each rounded once, are taken as these multiples: differences of the rounded
ones are none of the step's.

1. *Independent bases*: every combination of ``±alpha_1 ± alpha_2 ...``; M scales for up to
   ``2**M`` numbers, ``±alpha`` among them.
2. *A grid about zero* (k-bit weights): ``alpha_i = 2**i * step / 2``.
3. *Nested bases* (thresholds on one real weight): M scales for ``M + 1`` numbers from ``-v`` to
   ``v``.
4. *A grid anywhere*: that of 2, and a scale whose codes are all +1.
5. *Anything else*: nested bases about the middle, and a scale whose codes are all +1.
6. *Multiples of one step with gaps*: with the numbers ``step * n``, and ``g`` what all ``n`` differ
   by multiples of, ``T`` in powers of two and a rest: ``alpha = g * step / 2 * (1, 2, 4, ..., r)``.
   Parts of these sum to every integer from 0 to ``T``, so all numbers ``g * step * (T / 2 - S)``
   are there. ``T`` is the largest ``|2 n / g|`` where these are whole, else the width of the range,
   and a scale whose codes are all +1 moves its middle.

Example: -3, -1, 0, 1, 3 have the scales 0.5, 1 and 1.5, by 6: ``T = 6 = 1 + 2 + 3``.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from math import comb

import numpy as np

from abc_tvm.relay_passes.analysis.rounding import is_same
from abc_tvm.relay_passes.analysis.weights.common_step import integer_multiples

MAX_BASES = 4
"""Independent bases that are looked for; nested ones may be more."""

MOST_SCALES = 8
"""Of the first three ways."""

MOST_TRIED = 4000
"""Combinations of gaps between numbers that are tried as independent bases."""

MOST_BITS = 16
"""Of a grid."""

TOLERANCE = 2.0**-22
"""Relative size of rounding noise that is joined: a few roundings of float32, and no more."""

SignedSum = tuple[np.ndarray, np.ndarray]
"""Scales float64 ``[M]``, and codes ±1 ``[K, M]`` of ``K`` numbers."""


def signed_sum(values: np.ndarray) -> SignedSum | None:
    """``values = codes @ alpha``, with as few scales as are found.

    ``values`` float64 ``[K]``, ascending. ``None``: no float32 scales give every value within its
    rounding.
    """
    ways = (_independent, _grid, _nested, _grid_and_constant, _nested_and_constant)
    multiples = integer_multiples(values)
    exact = values if multiples is None else multiples[0] * multiples[1]
    found = [way(exact) for way in ways]
    if multiples is not None:
        found.append(_with_gaps(*multiples))
    sums = [one for one in found if one is not None]
    fewest_first = sorted(sums, key=lambda one: len(one[0]))
    return next((one for one in fewest_first if _gives(*one, values)), None)


def _gives(alpha: np.ndarray, codes: np.ndarray, values: np.ndarray) -> bool:
    """Whether the scales, as float32, give every value within its rounding."""
    kept = alpha.astype(np.float32).astype(np.float64)
    return bool(np.all(is_same(codes @ kept, values, np.abs(kept).sum())))


def _independent(values: np.ndarray) -> SignedSum | None:
    """Way 1: fewest bases first; all added up they give the top value."""
    top = values[-1]
    close = TOLERANCE * max(float(np.abs(values).max()), 1e-30) * 4
    gaps = (top - values[-2::-1]) / 2
    for count in range(max(1, int(np.ceil(np.log2(len(values))))), MAX_BASES + 1):
        if count >= len(values) or comb(len(gaps) + count - 1, count) > MOST_TRIED:
            return None
        signs = np.array(list(product((-1, 1), repeat=count)))
        for alpha in combinations_with_replacement(gaps, count):
            if abs(sum(alpha) - top) <= close:
                sums = signs @ np.array(alpha)
                if np.abs(values[:, None] - sums[None]).min(1).max() <= close:
                    return _with_nearest_codes(values, np.array(alpha))
    return None


def _grid(values: np.ndarray) -> SignedSum | None:
    """Way 2: ``2**i`` scales of a uniform grid about zero."""
    if len(values) < 2:
        return None
    step = float(np.diff(values).min())
    if step * 2.0**MOST_BITS <= values[-1] - values[0]:
        return None  # 0, too: two numbers may be one multiple of the common step
    bits = int(np.ceil(np.log2((values[-1] - values[0]) / step + 1) - 1e-6))
    top = step / 2 * (2**bits - 1)
    offset = (values + top) / step
    if np.abs(offset - np.rint(offset)).max() > 1e-4 or offset.min() < -0.5:
        return None
    if offset.max() > 2**bits - 0.5:
        return None
    return _with_nearest_codes(values, step / 2 * 2.0 ** np.arange(bits))


def _with_nearest_codes(values: np.ndarray, alpha: np.ndarray) -> SignedSum | None:
    """Scales with the codes whose sums are nearest, if the scales are few."""
    if len(alpha) > MOST_SCALES:
        return None
    signs = np.array(list(product((-1, 1), repeat=len(alpha))))
    sums = signs @ alpha
    return alpha, np.asarray(signs[np.abs(values[:, None] - sums[None]).argmin(1)])


def _nested_order(values: np.ndarray) -> np.ndarray | None:
    """An order that starts at ``-v`` and ends at ``v``."""
    close = 4 * TOLERANCE * max(float(np.abs(values).max()), 1e-30)
    for low in range(len(values) - 1):
        high = int(np.abs(values + values[low]).argmin())
        if high != low and abs(values[high] + values[low]) <= close:
            rest = [i for i in range(len(values)) if i not in (low, high)]
            return np.array([low, *rest, high])
    return None


def _nested(values: np.ndarray) -> SignedSum | None:
    """Way 3: each value has one more code +1 than the one before, in an order from -v to v."""
    order = _nested_order(values)
    count = len(values)
    if order is None or count - 1 > MOST_SCALES:
        return None
    codes = np.empty((count, count - 1), np.int64)
    for rank, index in enumerate(order):
        codes[index] = np.where(np.arange(count - 1) < rank, 1, -1)
    return np.diff(values[order]) / 2, codes


def _grid_and_constant(values: np.ndarray) -> SignedSum | None:
    """Way 4: ``2**i`` scales of a uniform grid anywhere, and one whose codes are all +1."""
    if len(values) < 3:
        return None
    step = float(np.diff(values).min())
    if step * 2.0**MOST_BITS <= values[-1] - values[0]:
        return None
    index = (values - values[0]) / step
    if np.abs(index - np.rint(index)).max() > 1e-4:
        return None
    bits = int(np.ceil(np.log2(index[-1] + 1) - 1e-6))
    middle = values[0] + step / 2 * (2**bits - 1)
    codes = np.where((np.rint(index).astype(np.int64)[:, None] >> np.arange(bits)) & 1, 1, -1)
    alpha = np.concatenate([step / 2 * 2.0 ** np.arange(bits), [middle]])
    return alpha, np.concatenate([codes, np.ones((len(values), 1), codes.dtype)], 1)


def _nested_and_constant(values: np.ndarray) -> SignedSum | None:
    """Way 5: nested bases of the values about their middle, and one whose codes are all +1."""
    middle = (values[0] + values[-1]) / 2
    half = np.diff(values) / 2
    codes = np.where(np.arange(len(half))[None] < np.arange(len(values))[:, None], 1, -1)
    ones = np.ones((len(values), 1), codes.dtype)
    return np.concatenate([half, [middle]]), np.concatenate([codes, ones], 1)


def _with_gaps(step: float, whole: np.ndarray) -> SignedSum | None:
    """Way 6, of the numbers ``step * whole``."""
    apart = int(np.gcd.reduce(np.diff(whole)))
    if apart == 0:
        return None
    doubled = 2 * whole
    low, high = int(doubled.min()), int(doubled.max())
    about_zero = not np.any(doubled % apart)
    middle = 0 if about_zero else (low + high) // 2
    total = int(np.abs(doubled - middle).max()) // apart
    powers = 2 ** np.arange(total.bit_length() - 1)
    rest = total - int(powers.sum())
    left = (total - (doubled - middle) // apart) // 2
    with_rest = left >= rest
    taken = ((left - rest * with_rest)[:, None] >> np.arange(len(powers))) & 1
    codes = 1 - 2 * np.concatenate([taken, with_rest[:, None]], 1).astype(np.int64)
    alpha = apart * step / 2 * np.append(powers, rest)
    if about_zero:
        return alpha, codes
    ones = np.ones((len(whole), 1), codes.dtype)
    return np.append(alpha, middle * step / 2), np.concatenate([codes, ones], 1)
