"""Which terms of a linear form one convolution can compute, and with which weights.

Terms whose weights are in one proportion, ``W_t = r_t * W``, are one convolution by linearity:
``sum_t Conv(data_t, r_t * W) = Conv(sum_t r_t * data_t, W)``. Proportions are looked for up to
float32 rounding of each weight (see :mod:`.rounding`), scale by scale where two terms are made of
the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.rounding import NORMAL, in_range, is_same
from abc_tvm.relay_passes.analysis.weights import weight_planes
from abc_tvm.relay_passes.analysis.weights.linear_form import LinearForm, Term

MOST_RATIO = 2.0**24
"""Inputs are added up in proportions of at most this: beside more, one of them is rounding."""

Members = list[tuple[float, relax.Var]]
"""``(coefficient, data)`` of inputs that are added up."""


@dataclass(frozen=True)
class Joint:
    """``Conv(sum of coefficient * data, weight)`` for each group; ``weight`` float64 OHWI."""

    groups: tuple[tuple[np.ndarray, Members], ...]


def joint_of(form: LinearForm) -> Joint | None:
    """The form in as few convolutions as its proportions allow.

    ``None`` where these are no fewer than it has, where weights would take too many values to be
    planes, and where weights or bias would be too large or small for float32.
    """
    groups: list[tuple[Term, Members]] = []
    for term in form.terms:
        for reference, members in groups:
            ratio = _ratio(term, reference)
            if ratio is not None:
                members.append((ratio, term.data))
                break
        else:
            groups.append((term, [(1.0, term.data)]))
    if len(groups) == form.count:
        return None
    rescaled = [in_integers(reference.weight(), members) for reference, members in groups]
    weights = [weight for weight, _ in rescaled]
    if not in_range(form.bias) or not all(in_range(weight, NORMAL) for weight in weights):
        return None
    if not all(weight_planes.has_planes(weight.astype(np.float32)) for weight in weights):
        return None
    return Joint(tuple(rescaled))


def _ratio(term: Term, reference: Term) -> float | None:
    """``r`` with ``weight = r * reference`` up to float32 rounding, scale by scale."""
    mine, theirs = term.joined(), reference.joined()
    if mine.keys() != theirs.keys():
        return proportion(term.weight(), reference.weight())
    a = np.array([mine[key][0] for key in mine])
    b = np.array([theirs[key][0] for key in mine])
    return proportion(a, b)


def proportion(a: np.ndarray, b: np.ndarray) -> float | None:
    """``r`` with ``a = r * b`` up to float32 rounding.

    ``[parts, channels]``, or OHWI whose values are the parts of their channel.
    """
    if a.shape != b.shape:
        return None
    at = np.unravel_index(np.abs(b).argmax(), b.shape)
    if b[at] == 0:
        return None
    with np.errstate(all="ignore"):
        ratio = float(a[at] / b[at])
    if not 1 / MOST_RATIO <= abs(ratio) <= MOST_RATIO:
        return None
    mine, theirs = (v if v.ndim == 2 else v.reshape(len(v), -1).T for v in (a, ratio * b))
    terms = np.abs(mine).max(0)
    # What float64 leaves of terms that cancel is 0.
    mine, theirs = (np.where(np.abs(v) <= 2.0**-45 * terms, 0, v) for v in (mine, theirs))
    return ratio if np.all(is_same(theirs, mine, terms)) else None


def in_integers(weight: np.ndarray, members: Members) -> tuple[np.ndarray, Members]:
    """Coefficients as integers where they are in a ratio of small ones, so that sums stay exact.

    The weight takes what they lose.
    """
    fractions = [Fraction(r).limit_denominator(64) for r, _ in members]
    if any(float(f) != r for f, (r, _) in zip(fractions, members, strict=True)):
        return weight, members
    common = lcm(*(f.denominator for f in fractions))
    whole = [int(f * common) for f in fractions]
    shared = gcd(*whole) or 1
    integers = [(float(w // shared), d) for w, (_, d) in zip(whole, members, strict=True)]
    return weight * (shared / common), integers
