"""The search space of a kernel: every choice that may be worth measuring.

Tiles are those whose accumulators and operands fit in the registers, also the quarter of them that
the default rule (:mod:`.tiles`) leaves to temporaries; on AArch64 those that a microkernel can be
written for (:mod:`.neon.tiles`). The other knobs multiply that; each of them leaves the result as
it is, so that any point may be compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.targets import Device

from . import neon
from .blocks import TASKS
from .choice import COUNTS, CUTS, ORDERS, TAPS, Choice, Count, Order
from .neon.tiles import ranked_bits, ranked_dots, ranked_floats
from .pools import COLUMNS, PARTS, default_pool
from .tiles import POOLS, SUMS, Kind, Work, candidates, choose_order, work_of
from .x86 import LOOKUP, family

LOOKUP_ISAS = LOOKUP | {"avx512-vpopcnt"}
"""Values of ``Device.isa`` that can look bits up: a 256-bit byte shuffle is there."""

UNROLL = (1, 2, 4)
MOST = 96
"""Tiles of a space, the best by the rule: beyond them nothing fast was ever found."""

SUITS: tuple[str, ...] = ("x86_64", "aarch64", "arm")
"""Beginnings of the triples of processors with a search space."""


@dataclass(frozen=True)
class Space:
    """Choices for one kernel on ``device``; ``bases`` of its ``pairs`` of planes are weights'.

    ``kind`` "lanes" is a kernel without a reduction, and pooling has ``pairs`` planes. ``threads``
    above 1 adds how it is cut in parallel.
    """

    device: Device
    window: Window
    blocking: Blocking
    pairs: int
    kind: Kind
    threads: int = 1
    bases: int = 1

    def default(self) -> Choice:
        """What is compiled where nothing is recorded."""
        if self.kind in POOLS:
            return default_pool(self.window, self.blocking, self.pairs, self.kind)
        if self.kind == "lanes":
            return Choice()
        return Choice(self.ranked[0], self._count(), order=self._order())

    def first(self, count: int) -> Sequence[Choice]:
        """What to measure first: the best tiles by rank."""
        return [replace(self.default(), tile=tile) for tile in self.tiles()[:count]]

    def _count(self) -> Count:
        return family(self.device) if self.kind == "bits" else "popcount"

    def _order(self) -> Order:
        return "weights" if neon.family(self.device) is not None else choose_order(self.work)

    def tiles(self) -> list[Tile]:
        """Tiles, the best by the rule first."""
        return list(self.ranked)

    @cached_property
    def ranked(self) -> tuple[Tile, ...]:
        """See :meth:`tiles`; the first is the default."""
        counted = neon.family(self.device)
        if self.kind in POOLS:
            default = self.default().tile
            sizes = [n for n in COLUMNS if n <= self.window.out_width]
            others = (Tile(columns=n, parts=p) for p in PARTS for n in sizes)
            return (default, *(tile for tile in others if tile != default))
        if self.kind == "lanes":
            sizes = [n for n in (1, 2, 4, 8) if n <= self.window.out_width]
            return tuple(Tile(columns=n, parts=p) for p in (1, 2) for n in sizes)
        if self.kind == "bits" and counted is not None:
            return tuple(ranked_bits(counted, self.window, self.blocking, self.pairs)[:MOST])
        if counted in neon.STEPS:
            ranked = ranked_dots if self.kind == "bytes" else ranked_floats
            return tuple(ranked(self.window, self.blocking, in_order=self.device.in_order)[:MOST])
        return tuple(self._x86_tiles())

    @property
    def work(self) -> Work:
        """The convolution, as the default rule sees it."""
        return work_of(
            self.device, self.window, self.blocking, self.pairs, kind=self.kind, bases=self.bases
        )

    def _x86_tiles(self) -> Iterator[Tile]:
        work = self.work
        safe = [t for t in candidates(work) if work.room.fits(t, self.pairs, self.bases)]
        default = min(safe or [Tile()], key=work.cost)
        yield default
        wide = replace(work, room=replace(work.room, limit=self.device.vector_registers))
        pixels = self.window.out_height * self.window.out_width
        most = pixels * self.blocking.blocks * self.pairs * work.room.per_block
        # Few accumulators wait for the latency of one addition.
        found = [
            t
            for t in candidates(wide)
            if wide.room.fits(t, self.pairs, self.bases)
            and work.room.accumulators(t, self.pairs, self.bases) >= min(4, most)
            and t != default
        ]
        yield from sorted(found, key=work.cost)[: MOST - 1]

    @cached_property
    def knobs(self) -> dict[str, tuple[Any, ...]]:
        """The knobs beside the tile, with their values; the first is the default's."""
        counted = neon.family(self.device)
        found: dict[str, tuple[Any, ...]] = {}
        if self.kind == "bits" and self.device.isa in LOOKUP_ISAS:
            first = self._count()
            found["count"] = (first, *(c for c in COUNTS if c != first))
        nested = self.kind != "bits" or counted is None
        if self.kind in SUMS and nested and counted not in neon.STEPS:
            found["taps"] = TAPS
            found["unroll"] = UNROLL
        if self.kind in SUMS and self.blocking.blocks > 1:
            order = self._order()
            found["order"] = (order, *(other for other in ORDERS if other != order))
        if self.threads > 1:
            usual = self.default().cut
            cuts = CUTS if self.kind in POOLS else CUTS[:2]
            found["cut"] = (usual, *(c for c in cuts if c != usual))
            if self.kind in SUMS:
                found["tasks"] = (TASKS, TASKS // 4, TASKS * 4)
        return found

    @property
    def all_knobs(self) -> dict[str, tuple[Any, ...]]:
        """Every knob that a space may have, with all its values: the same for each space."""
        return {
            "count": COUNTS,
            "taps": TAPS,
            "unroll": UNROLL,
            "order": ORDERS,
            "cut": CUTS,
            "tasks": (TASKS, TASKS // 4, TASKS * 4),
        }

    def points(self) -> Iterator[Choice]:
        """All choices, tile by tile, the default first."""
        default = self.default()
        for tile in self.ranked:
            for values in product(*self.knobs.values()):
                choice = replace(default, tile=tile, **dict(zip(self.knobs, values, strict=True)))
                if self.sensible(choice):
                    yield choice

    def sensible(self, choice: Choice) -> bool:
        """Whether no other choice gives the same machine code."""
        if choice.count == "nibble" and choice.taps != "auto":
            return False  # bytes decide what is summed together
        return choice.order == "weights" or choice.tile.blocks < self.blocking.blocks

    def neighbours(self, choice: Choice) -> Iterator[Choice]:
        """Choices that differ from ``choice`` in one knob; tiles in one of their extents."""
        for name, values in self.knobs.items():
            for value in values:
                other = replace(choice, **{name: value})
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


def has_space(device: Device) -> bool:
    """Whether kernels for ``device`` can be tuned."""
    return device.gpu is not None or device.triple.startswith(SUITS)
