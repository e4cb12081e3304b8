"""The intervals of inputs on which a chain is constant, found by halving.

An interval whose image is one value is constant there, proven, because bounds surely hold all
results. All others are halved, down to single floats. Inputs are walked in the order of their bit
patterns, so that the borders found are exact for the chain's own float32 arithmetic: ties, -0.0,
denormals and negative scales included.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.analysis.steps.chain_bounds import Chain
from abc_tvm.relay_passes.analysis.steps.float_order import from_key, to_key
from abc_tvm.relay_passes.analysis.steps.step_function import MAX_THRESHOLDS, NotAStep

FLOAT_MAX = np.float32(2.0**100)
"""Inputs are examined up to here: beyond it a chain may overflow to infinity and NaN, and the
step function goes on as it ends."""

_BLOCK = 2048
"""Channels that are looked at together: a bound of the memory, whatever a layer's width."""

Pieces = tuple[np.ndarray, np.ndarray]
"""Of one channel: the first key of each constant piece, ascending, and its value."""


def distinct_pieces(
    chain: Callable[[Bounds], Bounds], channels: int
) -> tuple[list[Pieces], np.ndarray]:
    """Pieces of the channels that differ, and which of these each of all channels is.

    ``chain`` maps bounds float32 ``[P, C]`` of inputs to bounds ``[P, C]`` of results. Of a
    :class:`Chain` each channel that differs is examined once, and few at a time: a layer of 6,144
    inputs behind one 8-bit quantiser took 1.9 GB and 44 s otherwise.

    Raises:
        NotAStep: The pieces are too many, or one is NaN.
    """
    if not isinstance(chain, Chain):
        return _constant_pieces(chain, channels), np.arange(channels)
    first, same = chain.distinct(channels)
    blocks = np.split(first, range(_BLOCK, len(first), _BLOCK))
    return [p for block in blocks for p in _constant_pieces(chain.at(block), len(block))], same


def _constant_pieces(chain: Callable[[Bounds], Bounds], channels: int) -> list[Pieces]:
    """The intervals on which ``chain`` is constant."""
    low = np.full((1, channels), to_key(np.asarray(-FLOAT_MAX)), np.int64)
    high = np.full((1, channels), to_key(np.asarray(FLOAT_MAX)), np.int64)
    active = np.ones((1, channels), bool)
    starts: list[np.ndarray] = []
    values: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    while active.any():
        with np.errstate(all="ignore"):
            least, most = chain((from_key(low), from_key(high)))
        least, most = (np.broadcast_to(v, low.shape).astype(np.float32) for v in (least, most))
        point = (low == high) | (np.isnan(least) & np.isnan(most))
        if np.isnan(least[active & point]).any():
            raise NotAStep("the activation yields NaN for a finite input")
        known = active & ((least == most) | point)
        owner = np.broadcast_to(np.arange(channels), low.shape)
        starts.append(low[known])
        values.append(least[known] + np.float32(0))
        owners.append(owner[known])
        low, high, active = _halve(low, high, active & ~known)
        if active.sum(0).max(initial=0) > 2 * MAX_THRESHOLDS + 2:
            raise NotAStep(
                f"the activation takes more than {MAX_THRESHOLDS + 1} different values (it is not "
                "binarized or quantized here)"
            )
    start, value, owned = (np.concatenate(v) for v in (starts, values, owners))
    order = np.lexsort((start, owned))
    start, value, owned = start[order], value[order], owned[order]
    cuts = np.searchsorted(owned, np.arange(1, channels))
    return list(zip(np.split(start, cuts), np.split(value, cuts), strict=True))


def _halve(
    low: np.ndarray, high: np.ndarray, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both halves of the active intervals, packed to the front of each channel's column."""
    middle = (low + high) >> 1
    low2 = np.concatenate([low, middle + 1])
    high2 = np.concatenate([middle, high])
    both = np.concatenate([active, active])
    order = np.argsort(~both, axis=0, kind="stable")[: max(1, int(both.sum(0).max(initial=0)))]
    low2, high2, both = (np.take_along_axis(v, order, 0) for v in (low2, high2, both))
    low2 = np.where(both, low2, 0)
    high2 = np.where(both, high2, 0)
    return low2, high2, both


def joined(start: np.ndarray, value: np.ndarray) -> Pieces:
    """A channel's pieces without borders between equal values."""
    keep = np.concatenate([[True], value[1:] != value[:-1]])
    return start[keep], value[keep]
