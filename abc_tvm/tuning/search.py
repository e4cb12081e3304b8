"""In which order choices of a space are measured, without a learned model.

The default rule's count of cycles ranks the tiles, and from the best measured choice the search
goes on to its neighbours, one knob at a time, until none is left or the budget is spent. It serves
GPUs, and all where XGBoost, and with it :mod:`.learned`, is not installed.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.space import Space
from abc_tvm.targets import Device

BEST_TILES = 6
"""Tiles that are measured by rank before the search follows what it has measured."""


class Search(Protocol):
    """Proposes what to measure."""

    def learn(self, space: Space, seen: Mapping[Choice, float]) -> None:
        """Take in what was measured of a task: seconds, infinite where a choice failed."""

    def next(
        self, space: Space, seen: Mapping[Choice, float], pending: Collection[Choice] = ()
    ) -> Choice | None:
        """The next choice to measure; ``pending`` ones are being measured. ``None``: none left."""


def make_search(seed: int, device: Device) -> Search:
    """The learned model; climbing where it has no features (GPUs), and without XGBoost."""
    if not family_of(device).described or importlib.util.find_spec("xgboost") is None:
        return Climbing(seed)
    from .learned import Learned

    return Learned(seed)


class Climbing:
    """A :class:`Search` by :func:`next_choice`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def learn(self, space: Space, seen: Mapping[Choice, float]) -> None:
        """Nothing: one task says nothing about another."""

    def next(
        self, space: Space, seen: Mapping[Choice, float], pending: Collection[Choice] = ()
    ) -> Choice | None:
        """See :class:`Search`."""
        known = {**seen, **dict.fromkeys(pending, float("inf"))}
        return next_choice(space, known, self.seed)


def next_choice(space: Space, seen: Mapping[Choice, float], seed: int) -> Choice | None:
    """The next choice to measure; ``None`` when the space is exhausted near its best points.

    ``seen`` maps measured choices to seconds (infinite where they failed). The answer depends on
    the arguments alone, which lets an interrupted search go on where it was.
    """
    first = [space.default(), *space.first(BEST_TILES)]
    for choice in first:
        if choice not in seen:
            return choice
    for centre in sorted(seen, key=lambda c: (seen[c], str(c))):
        if seen[centre] == float("inf"):
            break
        fresh = [c for c in _neighbours(space, centre, seed) if c not in seen]
        if fresh:
            return fresh[0]
    return None


def _neighbours(space: Space, centre: Choice, seed: int) -> Iterator[Choice]:
    near = list(space.neighbours(centre))
    random.Random(f"{seed} {centre}").shuffle(near)
    yield from near


def settled(times: list[float], patience: int) -> bool:
    """Whether the last ``patience`` measurements brought no gain: ``times`` in their order."""
    if len(times) <= patience:
        return False
    before, since = min(times[:-patience]), min(times[-patience:])
    return since >= before * (1 - GAIN)


GAIN = 0.005
"""A smaller gain is noise."""
