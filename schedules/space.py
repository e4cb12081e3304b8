"""The search space of a convolution on x86: every choice that may be worth measuring.

Tiles are those whose accumulators and operands fit in the registers, also the quarter of them that
the default rule (:mod:`.tiles`) leaves to temporaries. The other knobs multiply that; each of them
leaves the result as it is, so that any point may be compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.targets import Device

from .blocks import TASKS
from .choice import COUNTS, ORDERS, TAPS, Choice, Count
from .tiles import Budget, Kind, budget, candidates, choose_tile, instructions
from .x86 import LOOKUP, family

LOOKUP_ISAS = LOOKUP | {"avx512-vpopcnt"}
"""Values of ``Device.isa`` that can look bits up: a 256-bit byte shuffle is there."""


@dataclass(frozen=True)
class Space:
    """Choices for one convolution. ``threads`` above 1 adds how finely it is cut in parallel."""

    device: Device
    window: Window
    blocking: Blocking
    pairs: int
    kind: Kind
    threads: int = 1

    def default(self) -> Choice:
        """What is compiled where nothing is recorded."""
        tile = choose_tile(self.device, self.window, self.blocking, self.pairs, kind=self.kind)
        return Choice(tile, self._count())

    def first(self, count: int) -> list[Choice]:
        """What to measure first: the best tiles by rank."""
        return [Choice(tile, self._count()) for tile in self.tiles()[:count]]

    def _count(self) -> Count:
        return family(self.device) if self.kind == "bits" else "popcount"

    def tiles(self) -> list[Tile]:
        """Tiles that fit, the fewest instructions first."""
        room = replace(
            budget(self.device, self.blocking, self.kind), limit=self.device.vector_registers
        )
        found = [
            t
            for t in candidates(self.window, self.blocking, room)
            if room.fits(t, self.pairs) and self._useful(t, room)
        ]
        order = sorted(
            found, key=lambda t: instructions(t, self.window, self.blocking, self.pairs, room)
        )
        return order or [Tile()]

    def _useful(self, tile: Tile, room: Budget) -> bool:
        """Few accumulators wait for the latency of one addition."""
        pixels = self.window.out_height * self.window.out_width
        most = pixels * self.blocking.blocks * self.pairs * room.per_block
        return room.accumulators(tile, self.pairs) >= min(4, most)

    def neighbours(self, choice: Choice) -> Iterator[Choice]:
        """Choices that differ from ``choice`` in one knob."""
        if self.kind == "bits" and self.device.isa in LOOKUP_ISAS:
            yield from (replace(choice, count=c) for c in COUNTS if c != choice.count)
        if choice.count == "popcount":
            yield from (replace(choice, taps=t) for t in TAPS if t != choice.taps)
        if self.blocking.blocks > choice.tile.blocks:
            yield from (replace(choice, order=o) for o in ORDERS if o != choice.order)
        if self.threads > 1:
            yield from (
                replace(choice, tasks=n)
                for n in (TASKS // 4, TASKS, TASKS * 4)
                if n != choice.tasks
            )
        near = choice.tile
        for tile in self.tiles():
            same = (
                (tile.rows == near.rows)
                + (tile.columns == near.columns)
                + (tile.blocks == near.blocks)
            )
            if same == 2:
                yield replace(choice, tile=tile)


def has_space(device: Device) -> bool:
    """Whether kernels for ``device`` can be tuned."""
    return device.triple.startswith("x86_64")
