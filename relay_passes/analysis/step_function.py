"""Per-channel step functions, found by evaluating a chain and not by how it is spelled.

Every element-wise operator maps an interval of inputs to an interval that surely holds all its
results, because float32 operations with round-to-nearest are monotone. An interval whose image is
one value is constant there, proven. All others are halved, down to single floats. Inputs are
walked in the order of their bit patterns, so that the thresholds found are exact for the chain's
own float32 arithmetic: ties, -0.0, denormals and negative scales included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.rewrite import array_of, op_name

MAX_STEPS = 255
"""More thresholds than this is no step function (8-bit quantisation has 255)."""

MOST_THRESHOLDS = 1 << 25
"""Of all channels of a step: 128 MB."""

_FLOAT_MAX = np.float32(2.0**100)
"""Inputs are examined up to here: beyond it a chain may overflow to infinity and NaN, and the
step function goes on as it ends."""


_BLOCK = 2048
"""Channels that are looked at together: a bound of the memory, whatever a layer's width."""


class NotAStep(UnsupportedError):
    """The chain is no per-channel step function; the message says why."""


@dataclass(frozen=True)
class StepFunction:
    """``N`` thresholds and ``N + 1`` levels a channel.

    ``value = levels[q]`` with ``q`` the number of thresholds ``t`` of the channel with
    ``x >= t``, counted from the other end (``N - q``) where ``sense`` is -1.

    ``thresholds`` float32 ``[N, C]`` ascending along N (``+inf``: never, ``-inf``: always);
    ``sense`` int8 ``[C]``; ``levels`` float32 ``[N + 1]``.
    """

    thresholds: np.ndarray
    sense: np.ndarray
    levels: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """NumPy meaning: ``x`` float32 ``[..., C]``."""
        n = len(self.thresholds)
        q = np.zeros(x.shape, np.int64)
        for t in self.thresholds:
            q += x >= t
        return np.asarray(self.levels[np.where(self.sense > 0, q, n - q)])

    @property
    def rising(self) -> bool:
        """Whether levels rise with the index, so that max-pooling keeps the highest index."""
        return bool(np.all(self.levels[1:] > self.levels[:-1]))


@dataclass(frozen=True)
class Chain:
    """A chain whose channels may be taken apart: ``run(bounds, constants)`` gives its bounds.

    ``constants`` by whatever key ``run`` knows; the last axis of each is the channels, or 1.
    """

    run: Callable[[Bounds, dict[Any, np.ndarray]], Bounds]
    constants: dict[Any, np.ndarray]

    def __call__(self, x: Bounds) -> Bounds:
        return self.run(x, self.constants)

    def at(self, channels: np.ndarray) -> Chain:
        """The same chain on some channels alone."""
        narrow = {key: v[..., channels] if _is_wide(v) else v for key, v in self.constants.items()}
        return Chain(self.run, narrow)

    def distinct(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Channels that differ, and which of them each of all channels equals."""
        wide = [v.reshape(-1, channels).T for v in self.constants.values() if _is_wide(v)]
        rows = [np.ascontiguousarray(v).view(np.uint8).reshape(channels, -1) for v in wide]
        if not rows:
            return np.zeros(1, np.int64), np.zeros(channels, np.int64)
        _, first, same = np.unique(
            np.concatenate(rows, 1), axis=0, return_index=True, return_inverse=True
        )
        return first, same.reshape(-1)


def _is_wide(array: np.ndarray) -> bool:
    return array.ndim > 0 and array.shape[-1] > 1


def to_key(x: np.ndarray) -> np.ndarray:
    """Order-preserving int64 of float32 bit patterns (-0.0 is just below +0.0)."""
    bits = np.asarray(x, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF) - 1)


def from_key(key: np.ndarray) -> np.ndarray:
    """Inverse of :func:`to_key`."""
    bits = np.where(key >= 0, key, (-(key + 1)) | 0x80000000)
    return bits.astype(np.uint32).view(np.float32)


Pieces = list[tuple[np.ndarray, np.ndarray]]
"""For every channel: the first key of each constant piece, ascending, and its value."""

Atoms = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""bool ``[C]``: whether the input may lie in ``first .. last`` (float32 ``[C]``) with a probability
above zero."""


def find_steps(
    chain: Callable[[Bounds], Bounds],
    channels: int,
    *,
    levels: np.ndarray | None = None,
) -> StepFunction:
    """The step function that ``chain`` computes.

    ``chain`` maps bounds float32 ``[P, C]`` of inputs to bounds ``[P, C]`` of results. Raises
    :class:`NotAStep` with the reason. ``levels`` float32 ``[N + 1]`` fixes the levels (some may
    then never be taken).

    Of a :class:`Chain` each channel that differs is examined once, and few at a time: a layer of
    6,144 inputs behind one 8-bit quantiser took 1.9 GB and 44 s otherwise.
    """
    pieces, same = _distinct_pieces(chain, channels)
    return _steps_of(pieces, same, levels)


def find_steps_without_ties(
    chain: Callable[[Bounds], Bounds], channels: int, atoms: Atoms
) -> tuple[StepFunction, int]:
    """The step function of ``chain`` without ties that are met by accident only.

    ONNX's ``Sign`` has a level of its own at a tie, ``Sign(0) = 0``. Where the input is spread
    continuously that point goes to the side of ``>=``, as the paper defines it, which saves the
    plane that the level would cost; where ``atoms`` says that the input can lie there, it stays.
    Beside the function: how many thresholds it has without any tie. Raises :class:`NotAStep`.
    """
    pieces, same = _distinct_pieces(chain, channels)
    pieces = [_joined(*piece) for piece in pieces]
    if not any(_has_tie(start, value) for start, value in pieces):
        steps = _steps_of(pieces, same, None)
        return steps, len(steps.thresholds)
    # Channels of one chain may still have atoms of their own.
    pieces, same = [pieces[i] for i in same], np.arange(channels)
    plain, kept = _without_ties(pieces, chain, atoms)
    if kept is None:
        steps = _steps_of(plain, same, None)
        return steps, len(steps.thresholds)
    steps = _steps_of(kept, same, None)
    try:
        return steps, len(_steps_of(plain, same, None).thresholds)
    except NotAStep:
        return steps, len(steps.thresholds)


def _distinct_pieces(chain: Callable[[Bounds], Bounds], channels: int) -> tuple[Pieces, np.ndarray]:
    """Pieces of the channels that differ, and which of these each channel is."""
    if not isinstance(chain, Chain):
        return _constant_pieces(chain, channels), np.arange(channels)
    first, same = chain.distinct(channels)
    blocks = np.split(first, range(_BLOCK, len(first), _BLOCK))
    return [p for block in blocks for p in _constant_pieces(chain.at(block), len(block))], same


def _steps_of(pieces: Pieces, same: np.ndarray, levels: np.ndarray | None) -> StepFunction:
    found = _normal_form([_merge(*piece) for piece in pieces], levels)
    count, channels = len(found.thresholds), len(same)
    if count * channels > MOST_THRESHOLDS:
        raise NotAStep(
            f"{count} thresholds for each of {channels:,} channels are more than the "
            f"{MOST_THRESHOLDS:,} that a step may have"
        )
    return StepFunction(found.thresholds[:, same], found.sense[same], found.levels)


def _has_tie(start: np.ndarray, value: np.ndarray) -> bool:
    """Whether any of a channel's pieces looks like a tie."""
    if len(start) < 3:
        return False
    ends = np.append(start, to_key(np.asarray(_FLOAT_MAX)))
    windows = np.lib.stride_tricks.sliding_window_view
    return bool(_is_tie(windows(ends, 4), windows(value, 3)).any())


def _joined(start: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = np.concatenate([[True], value[1:] != value[:-1]])
    return start[keep], value[keep]


def _without_ties(
    pieces: Pieces, chain: Callable[[Bounds], Bounds], atoms: Atoms
) -> tuple[Pieces, Pieces | None]:
    """Pieces with all ties given to the higher neighbour, and with those kept that atoms meet.

    A tie is a sliver, half-way between its neighbours: what ``Sign(0) = 0`` leaves, a few float32
    steps wide, more where a small scale or an addition comes before the Sign. ``None`` for the
    second where no atom meets a tie.
    """
    channels = len(pieces)
    most = max(len(start) for start, _ in pieces)
    plain, kept = ([value.copy() for _, value in pieces] for _ in range(2))
    differs = False
    for i in range(1, most - 1):
        inner = [c for c in range(channels) if i + 1 < len(pieces[c][0])]
        first = np.zeros(channels, np.float32)
        last, ties = first.copy(), np.zeros(channels, bool)
        start = np.stack([_around(pieces[c][0], i) for c in inner])
        around = np.stack([plain[c][i - 1 : i + 2] for c in inner])
        first[inner] = from_key(start[:, 1])
        last[inner] = from_key(start[:, 2] - 1)
        ties[inner] = _is_tie(start, around)
        if not ties.any():
            continue
        ties &= ~_is_level(chain, first, last)
        meets = ties & atoms(np.where(ties, first, 0), np.where(ties, last, 0))
        differs |= bool(meets.any())
        for c in np.nonzero(ties)[0]:
            higher = max(plain[c][i - 1], plain[c][i + 1])
            plain[c][i] = higher
            if not meets[c]:
                kept[c][i] = higher
    starts = [start for start, _ in pieces]
    return (
        list(zip(starts, plain, strict=True)),
        list(zip(starts, kept, strict=True)) if differs else None,
    )


def _around(start: np.ndarray, i: int) -> np.ndarray:
    """First keys of the pieces ``i - 1`` to ``i + 2``; behind the last one, its end."""
    end = start[i + 2] if i + 2 < len(start) else to_key(np.asarray(_FLOAT_MAX))
    return np.array([*start[i - 1 : i + 2], end])


def _is_tie(start: np.ndarray, value: np.ndarray) -> np.ndarray:
    """bool ``[n]``: whether pieces are narrow and half-way between their neighbours.

    ``start`` int64 ``[n, 4]`` keys, ``value`` ``[n, 3]``.
    """
    first = from_key(start[:, :3]).astype(np.float64)
    width = from_key(start[:, 1:] - 1).astype(np.float64) - first
    narrow = width[:, 1] <= 2.0**-17 * np.maximum(1, np.abs(first[:, 1]))
    # The pieces of a quantiser are all alike; a tie is narrow beside its neighbours.
    narrow &= width[:, 1] <= 2.0**-10 * np.minimum(width[:, 0], width[:, 2])
    before, tie, after = value.T
    near = np.abs(tie - (before + after) / 2) <= 2.0**-20 * np.abs(after - before)
    return np.asarray(narrow & near)


def _is_level(chain: Callable[[Bounds], Bounds], first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Whether narrow pieces are levels that the chain means to have, and no rounding at a tie.

    Evaluated in float64, what rounding alone makes level is no more so in between.
    """
    wide = (first.astype(np.float64), last.astype(np.float64))
    inside = np.stack([wide[0] * 0.75 + wide[1] * 0.25, wide[0] * 0.25 + wide[1] * 0.75])
    with np.errstate(all="ignore"):
        value = chain((inside, inside))[0]
        here = chain((first[None], first[None]))[0]
    return np.asarray((first != last) & np.all(value == here, axis=0))


def _constant_pieces(chain: Callable[[Bounds], Bounds], channels: int) -> Pieces:
    """The intervals on which ``chain`` is constant."""
    low = np.full((1, channels), to_key(np.asarray(-_FLOAT_MAX)), np.int64)
    high = np.full((1, channels), to_key(np.asarray(_FLOAT_MAX)), np.int64)
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
        if active.sum(0).max(initial=0) > 2 * MAX_STEPS + 2:
            raise NotAStep(
                f"the activation takes more than {MAX_STEPS + 1} different values (it is not "
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


def _merge(start: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop borders between pieces of equal value: keys of the jumps, and the values."""
    start, value = _joined(start, value)
    keys = start[1:]
    if np.any(keys == 0):
        raise NotAStep("the activation tells -0.0 from 0.0, which no comparison can")
    return keys, value


def _normal_form(
    per_channel: list[tuple[np.ndarray, np.ndarray]], levels: np.ndarray | None
) -> StepFunction:
    """One list of levels for all channels, each channel with its own thresholds and sense."""
    if levels is None:
        levels = _common_levels([values for _, values in per_channel])
    if len(levels) == 1:  # constant in every channel: one threshold that is never passed
        levels = np.array([levels[0], levels[0] + max(1, abs(float(levels[0])))], np.float32)
        if not np.isfinite(levels).all():
            raise NotAStep(f"the activation is constant, and as large as {levels[0]:g}")
    count = len(levels) - 1
    if count > MAX_STEPS:
        raise NotAStep(f"the activation has {count + 1} levels, more than {MAX_STEPS + 1}")
    thresholds = np.empty((count, len(per_channel)), np.float32)
    sense = np.ones(len(per_channel), np.int8)
    for c, (keys, values) in enumerate(per_channel):
        rising = _thresholds(keys, values, levels)
        if rising is None:
            rising = _thresholds(keys, values, levels[::-1])
            sense[c] = -1
        if rising is None:
            raise NotAStep("channels step through different levels, so no one set of planes fits")
        thresholds[:, c] = rising
    return StepFunction(thresholds, sense, levels.astype(np.float32))


def _common_levels(per_channel: list[np.ndarray]) -> np.ndarray:
    levels = max(per_channel, key=len)
    union = np.unique(np.concatenate(per_channel))
    if len(union) > len(levels) and all(_monotone(values) for values in per_channel):
        levels = union
    return np.sort(levels) if _monotone(levels) else levels


def _monotone(values: np.ndarray) -> bool:
    difference = np.diff(values)
    return bool(np.all(difference > 0) or np.all(difference < 0))


def _thresholds(keys: np.ndarray, values: np.ndarray, levels: np.ndarray) -> np.ndarray | None:
    """``[N]`` thresholds at which the channel passes each level, or ``None`` if it does not."""
    jumps = from_key(keys)
    if np.array_equal(values, levels):  # it takes them all
        return jumps
    where = []
    at = 0
    for value in values:
        hits = np.nonzero(levels[at:] == value)[0]
        if len(hits) == 0:
            return None
        at += int(hits[0])
        where.append(at)
    out = np.full(len(levels) - 1, np.inf, np.float32)
    out[: where[0]] = -np.inf
    for jump, before, after in zip(jumps, where[:-1], where[1:], strict=True):
        out[before:after] = jump
    return out


def steps_of(call: Any) -> StepFunction:
    """The step function of an ``abc.step`` or ``abc.count_step`` (its float thresholds)."""
    place = (4, 2, 3) if op_name(call) == "abc.count_step" else (1, 2, 3)
    thresholds, sense, levels = (array_of(call.args[i]) for i in place)
    return StepFunction(thresholds, sense, levels)
