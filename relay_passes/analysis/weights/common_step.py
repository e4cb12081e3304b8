"""The step that a few numbers are integer multiples of.

A k-bit network stores ``float32(integer * step)``, rounded once for each number, and so the
differences of two of its numbers are the step only up to the rounding of both: a step of 1 that
is the difference of 7 and 6 may be off by seven roundings of its own. So

1. differences, the least size and their parts are estimates, from which the integers are read;
2. the step is then one that gives every number bit for bit, if there is any: a float32 where one
   does, else a real number;
3. else one that gives every number up to its rounding (:mod:`.rounding`), where numbers were
   summed up from larger ones.

Example: 0.7 (7 steps of float32 0.1) and 0.3 have the step 0.1.
"""

from __future__ import annotations

import numpy as np

from abc_tvm.relay_passes.analysis.rounding import allowed, is_same

MAX_MULTIPLE = 256


def integer_multiples(values: np.ndarray) -> tuple[float, np.ndarray] | None:
    """``(step, integers)`` with ``values = step * integers``, or ``None``.

    ``values`` float32 or float64 ``[n]``; the integers are at most ``MAX_MULTIPLE`` in size.
    """
    values = values.astype(np.float64)
    size = np.abs(values)
    largest = float(size.max(initial=0))
    positive = np.concatenate([size[size > 0], np.abs(np.diff(np.sort(values)))])
    positive = positive[positive > 2.0**-20 * max(largest, 1e-30)]
    if len(positive) == 0:
        return None
    for part in (1, 2, 3, 4):
        found = _multiples(values, float(positive.min()) / part, largest)
        if found is not None:
            return found
    # The step is no part of any difference: the largest value is ``k`` steps.
    steps = largest / np.arange(1, MAX_MULTIPLE + 1)
    whole = np.rint(values[None] / steps[:, None])
    near = np.all(is_same((whole * steps[:, None]).T, values[:, None], largest / 2), axis=0)
    if not near.any():
        return None
    k = int(near.argmax())
    fitted = _fitted(values, whole[k], largest / 2)
    return float(steps[k]) if fitted is None else fitted, whole[k].astype(np.int64)


def _multiples(values: np.ndarray, near: float, terms: float) -> tuple[float, np.ndarray] | None:
    """Case 1: integers by an estimate of the step, and the step."""
    whole = np.rint(values / near)
    if np.abs(whole).max() > MAX_MULTIPLE:
        return None
    step = _fitted(values, whole, terms)
    return None if step is None else (step, whole.astype(np.int64))


def _fitted(values: np.ndarray, whole: np.ndarray, terms: float) -> float | None:
    """Cases 2 and 3: the step of which ``values`` are the multiples ``whole``."""
    used = whole != 0
    if np.any(values[~used] != 0) or not used.any():
        return None
    sizes, counts = np.abs(values[used]), np.abs(whole[used])
    one = _between(sizes, counts, np.spacing(sizes.astype(np.float32)).astype(np.float64) / 2)
    for step in () if one is None else (float(np.float32(one)), one):
        if np.array_equal((whole * step).astype(np.float32), values.astype(np.float32)):
            return step
    about = _between(sizes, counts, allowed(values, terms)[used])
    if about is None or not np.all(is_same(whole * about, values, terms)):
        return None
    return about


def _between(sizes: np.ndarray, counts: np.ndarray, errors: np.ndarray) -> float | None:
    """A step with ``counts * step`` within ``errors`` of ``sizes``."""
    low, high = ((sizes - errors) / counts).max(), ((sizes + errors) / counts).min()
    return float((low + high) / 2) if 0 < low <= high else None
