"""The search space of a kernel on a processor.

Tiles are those of the kernel's nest: all that fit its registers, also the part of them that the
default rule leaves to temporaries. The other knobs multiply that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.choice import CUTS, ORDERS, Choice, Count, Knob
from abc_tvm.schedules.problem import POOLS, SUMS
from abc_tvm.schedules.space import Space

from .features import KNOBS, features
from .nest import Nest
from .pools import COLUMNS, PARTS
from .ruled import Ruled

Nests = tuple[tuple[Count, Nest], ...]
"""Ways to compute one kind of sum, each by its name in a choice; the first is the default."""

LANES_COLUMNS, LANES_PARTS = (1, 2, 4, 8), (1, 2)


@dataclass(frozen=True)
class ProcessorSpace(Space):
    """``best``: the default choice. ``nests``: those of the kernel's kind, none without a sum.

    ``ruled``: as in :class:`.family.Processor`.
    """

    best: Choice
    nests: Nests = field(repr=False)  # of which Python prints where they lie
    ruled: bool

    def default(self) -> Choice:
        return self.best

    def first(self, count: int) -> Sequence[Choice]:
        return [replace(self.best, tile=tile) for tile in self.tiles()[:count]]

    def tiles(self) -> list[Tile]:
        """Tiles, the best by the rule first."""
        return list(self.ranked)

    @cached_property
    def ranked(self) -> tuple[Tile, ...]:
        """See :meth:`tiles`; the first is the default."""
        width = self.problem.window.out_width
        if self.problem.kind in POOLS:
            default = self.best.tile
            sizes = [n for n in COLUMNS if n <= width]
            others = (Tile(columns=n, parts=p) for p in PARTS for n in sizes)
            return (default, *(tile for tile in others if tile != default))
        if not self.nests:
            sizes = [n for n in LANES_COLUMNS if n <= width]
            return tuple(Tile(columns=n, parts=p) for p in LANES_PARTS for n in sizes)
        return self.nests[0][1].tiles(self.machine, self.problem)

    @cached_property
    def knobs(self) -> dict[str, tuple[Knob, ...]]:
        """The knobs beside the tile, with their values; the first is the default's."""
        knobs: dict[str, tuple[Knob, ...]] = {}
        if len(self.nests) > 1:
            knobs["count"] = tuple(count for count, _ in self.nests)
        if self.nests:
            knobs |= self.nests[0][1].knobs
        if self.nests and self.problem.blocking.blocks > 1:
            order = self.best.order
            knobs["order"] = (order, *(other for other in ORDERS if other != order))
        if self.threads > 1:
            usual = self.best.cut
            cuts = CUTS if self.problem.kind in POOLS else CUTS[:2]
            knobs["cut"] = (usual, *(c for c in cuts if c != usual))
            if self.problem.kind in SUMS:
                knobs["tasks"] = KNOBS["tasks"]
        return knobs

    def points(self) -> Iterator[Choice]:
        for tile in self.ranked:
            for values in product(*self.knobs.values()):
                knobs = dict(zip(self.knobs, values, strict=True))
                choice = _changed(replace(self.best, tile=tile), knobs)
                if self.sensible(choice):
                    yield choice

    def sensible(self, choice: Choice) -> bool:
        """Whether no other choice gives the same machine code."""
        if choice.count == "nibble" and choice.taps != "auto":
            return False  # bytes decide what is summed together
        return choice.order == "weights" or choice.tile.blocks < self.problem.blocking.blocks

    def neighbours(self, choice: Choice) -> Iterator[Choice]:
        """Choices that differ in one knob; tiles in one of their extents."""
        for name, values in self.knobs.items():
            for value in values:
                other = _changed(choice, {name: value})
                if other != choice and self.sensible(other):
                    yield other
        near = choice.tile
        for tile in self.ranked:
            apart = sum(a != b for a, b in zip(astuple(tile), astuple(near), strict=True))
            # Registers that parts or planes free are for another extent: two may differ.
            both = tile.parts != near.parts or tile.planes != near.planes
            if apart == 1 or (apart == 2 and both):
                other = replace(choice, tile=tile)
                if self.sensible(other):
                    yield other

    def features(self, choices: list[Choice]) -> np.ndarray:
        nest = self.nests[0][1] if self.nests and self.ruled else None
        return features(
            self.machine, self.problem, nest if isinstance(nest, Ruled) else None, choices
        )


def _changed(choice: Choice, knobs: Mapping[str, Knob]) -> Choice:
    """``choice`` with some of its fields, by their names."""
    changes: dict[str, Any] = dict(knobs)
    return replace(choice, **changes)
