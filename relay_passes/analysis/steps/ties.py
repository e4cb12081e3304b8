"""Slivers of a chain's pieces that rounding or ``Sign(0) = 0`` leaves between two levels.

A tie is half-way between its neighbours and narrow: a few float32 steps wide, more where a small
scale or an addition comes before the Sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.analysis.steps.constant_pieces import FLOAT_MAX, Pieces
from abc_tvm.relay_passes.analysis.steps.float_order import from_key, to_key

AtomsAt = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""bool ``[C]``: whether the input may lie in ``first .. last`` (float32 ``[C]``) with a probability
above zero."""


def has_tie(start: np.ndarray, value: np.ndarray) -> bool:
    """Whether any of a channel's pieces looks like a tie."""
    if len(start) < 3:
        return False
    ends = np.append(start, to_key(np.asarray(FLOAT_MAX)))
    windows = np.lib.stride_tricks.sliding_window_view
    return bool(_is_tie(windows(ends, 4), windows(value, 3)).any())


def without_ties(
    pieces: Sequence[Pieces], chain: Callable[[Bounds], Bounds], atoms: AtomsAt
) -> tuple[list[Pieces], list[Pieces] | None]:
    """Pieces with all ties given to the higher neighbour, and with those kept that atoms meet.

    ``None`` for the second where no atom meets a tie.
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
    end = start[i + 2] if i + 2 < len(start) else to_key(np.asarray(FLOAT_MAX))
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
