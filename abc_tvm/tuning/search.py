"""In which order choices of a space are measured.

The spaces have a few dozen to a few hundred points, and a measurement costs a fifth of a second,
most of it the build. So there is no learned model of the cost between the two: the default rule's
count of instructions ranks the tiles, and from the best measured choice the search goes on to its
neighbours, one knob at a time, until none is left or the budget is spent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.cuda.space import CudaSpace
from abc_tvm.schedules.space import Space

BEST_TILES = 6
"""Tiles that are measured by rank before the search follows what it has measured."""


def next_choice(space: Space | CudaSpace, seen: Mapping[Choice, float], seed: int) -> Choice | None:
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


def _neighbours(space: Space | CudaSpace, centre: Choice, seed: int) -> Iterator[Choice]:
    found = list(space.neighbours(centre))
    random.Random(f"{seed} {centre}").shuffle(found)
    yield from found


def settled(times: list[float], patience: int) -> bool:
    """Whether the last ``patience`` measurements brought no gain: ``times`` in their order."""
    if len(times) <= patience:
        return False
    before, since = min(times[:-patience]), min(times[-patience:])
    return since >= before * (1 - GAIN)


GAIN = 0.005
"""A smaller gain is noise."""
