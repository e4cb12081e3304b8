"""Where every array lies in the one arena, decided before the program exists.

Two arrays may share bytes if no call needs both. The largest are placed first, each at the lowest
offset that is free for as long as it lives: a well-known heuristic for dynamic storage allocation,
near the lower bound on networks (Sekiyama et al., "Profile-guided memory optimization for deep
neural networks", 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64
"""Bytes: a cache line, and more than any vector register that is used."""


@dataclass(frozen=True)
class Life:
    """An array of ``size`` bytes that the calls ``first`` to ``last`` (both included) need."""

    size: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        """Whether one call needs both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class ArenaPlan:
    """``offsets`` in bytes, one per array, and the ``size`` of the arena that holds them all."""

    offsets: tuple[int, ...]
    size: int


def plan(lives: Sequence[Life]) -> ArenaPlan:
    """Place all arrays. The same arrays always give the same plan."""
    offsets = [0] * len(lives)
    order = sorted(range(len(lives)), key=lambda n: (-lives[n].size, lives[n].first, n))
    placed: list[int] = []
    for number in order:
        taken = sorted(
            (offsets[other], offsets[other] + aligned(lives[other].size))
            for other in placed
            if lives[other].meets(lives[number])
        )
        offset = 0
        for start, end in taken:
            if offset + aligned(lives[number].size) <= start:
                break
            offset = max(offset, end)
        offsets[number] = offset
        placed.append(number)
    ends = [o + aligned(life.size) for o, life in zip(offsets, lives, strict=True)]
    return ArenaPlan(tuple(offsets), max(ends, default=0))


def aligned(size: int) -> int:
    """``size`` rounded up to whole units of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
