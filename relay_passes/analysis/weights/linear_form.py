"""Sums of convolutions of one geometry, with their scales: what spelled-out bases are read as.

A :class:`LinearForm` is ``sum_t Conv(data_t, sum_p scale_p * weight_p) + bias``. Scales are kept
beside the weights of the graph, in float64, so that weights which differ by scales alone are
compared scale by scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import shape_of


class WeightNumbers:
    """Numbers for weights: the same for two only if they are the same, value by value."""

    def __init__(self) -> None:
        self.known: dict[int, list[tuple[int, np.ndarray]]] = {}
        self.count = 0

    def of(self, weight: np.ndarray) -> int:
        """The number of ``weight``, whatever its shape and type."""
        # A hash of the first places finds candidates; the comparison decides.
        digest = hash((weight.shape, str(weight.dtype), weight.ravel()[:64].tobytes()))
        candidates = self.known.setdefault(digest, [])
        for number, other in candidates:
            if np.array_equal(weight, other):
                return number
        self.count += 1
        candidates.append((self.count, weight))
        return self.count


@dataclass(frozen=True)
class Part:
    """``scale [OC]`` (float64) times a weight of the graph, OHWI.

    Weights are equal exactly where ``key`` is; see :class:`WeightNumbers`.
    """

    scale: np.ndarray
    key: int
    weight: np.ndarray


@dataclass(frozen=True)
class Term:
    """``Conv(data, sum of parts)``."""

    data: relax.Var
    parts: tuple[Part, ...]

    def scaled(self, factor: np.ndarray) -> Term:
        """The term times ``factor [OC]``."""
        return Term(self.data, tuple(replace(p, scale=p.scale * factor) for p in self.parts))

    def plus(self, other: Term) -> Term:
        """The sum with a term on the same data."""
        return Term(self.data, self.parts + other.parts)

    def weight(self) -> np.ndarray:
        """The sum of the parts, float64 OHWI."""
        total = np.zeros(self.parts[0].weight.shape)
        for scale, weight in self.joined().values():
            total += scale[:, None, None, None] * weight
        return total

    def joined(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """``(scale, weight)`` by key: scales of equal weights added up."""
        sums: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for part in self.parts:
            before = sums.get(part.key, (np.zeros(()), part.weight))[0]
            sums[part.key] = (before + part.scale, part.weight)
        return sums


@dataclass(frozen=True)
class LinearForm:
    """``sum of terms + bias [OC]`` (float64): all terms of one geometry, that of ``call``.

    ``name`` is the layer's, ``count`` how many convolutions were read, ``parts`` the variables
    whose forms it took in.
    """

    terms: tuple[Term, ...]
    bias: np.ndarray
    call: relax.Call
    name: str
    count: int = 1
    parts: tuple[relax.Var, ...] = ()

    def holds(self, var: relax.Var) -> bool:
        """Whether the form takes in the form of ``var``."""
        return any(var.same_as(p) for p in self.parts)

    def scaled(self, factor: np.ndarray) -> LinearForm:
        """The form times ``factor``, of one element or one for each channel."""
        f = np.broadcast_to(factor.reshape(-1), self.bias.shape).astype(np.float64)
        with np.errstate(all="ignore"):  # what is no float64 is never in range
            terms = tuple(t.scaled(f) for t in self.terms)
            return replace(self, terms=terms, bias=self.bias * f)

    def shifted(self, shift: np.ndarray) -> LinearForm:
        """The form plus ``shift``, of one element or one for each channel."""
        return replace(self, bias=self.bias + shift)

    def plus(self, other: LinearForm) -> LinearForm | None:
        """The sum; ``None`` if the geometries differ."""
        if not _same_geometry(self.call, other.call):
            return None
        terms = list(self.terms)
        for term in other.terms:
            for i, mine in enumerate(terms):
                if mine.data.same_as(term.data):
                    terms[i] = mine.plus(term)
                    break
            else:
                terms.append(term)
        bias = self.bias + other.bias
        count = self.count + other.count
        return replace(self, terms=tuple(terms), bias=bias, count=count)


def _same_geometry(a: relax.Call, b: relax.Call) -> bool:
    return shape_of(a.args[1]) == shape_of(b.args[1]) and conv_window(a) == conv_window(b)
