"""Which register tile a convolution gets when no tuning record names one.

The rule counts registers, then instructions. A tile of ``rows x columns`` pixels and ``blocks``
lane blocks holds its accumulators in vector registers; beside them it needs one register a pixel
(the broadcast activation) and one for each vector of weights. Among the tiles that fit, the one
with the fewest instructions for the whole output wins, surplus pixels of the last tiles included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from abc_tvm.compute.accumulate import PLANES, Planes, Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem


@dataclass(frozen=True)
class Room:
    """Registers of one kernel on one device.

    ``per_block`` hold one accumulator of a lane block; ``limit`` are there for accumulators,
    activations and weights together.
    """

    per_block: int
    limit: int
    activation: int = 1
    """Registers that one pixel's activation takes while its tap is computed."""
    whole: bool = False
    """Whether a lane block cannot be cut into parts."""

    def registers(self, tile: Tile) -> int:
        """Registers of one part of a lane block."""
        return -(-self.per_block // tile.parts)

    def accumulators(self, tile: Tile, pairs: int, bases: int = 1) -> int:
        """Registers for the sums of one pass."""
        pixels = tile.rows * tile.columns
        return pixels * tile.blocks * tile.pairs(bases, pairs) * self.registers(tile)

    def fits(self, tile: Tile, pairs: int, bases: int = 1) -> bool:
        pixels = tile.rows * tile.columns
        beside = pixels * self.activation + tile.blocks * self.registers(tile)
        return self.accumulators(tile, pairs, bases) + beside <= self.limit


def words_room(machine: MachineFacts, blocking: Blocking) -> Room:
    """The registers of a kernel whose sums are 32-bit words.

    A quarter of them is left to temporaries: LLVM keeps several taps in flight, and a tile that
    only just fits spills (measured on Zen 4: 8 pixels of two registers are slower than 7).
    """
    per_block = -(-blocking.lanes * 32 // machine.vector_bits)
    few = machine.vector_registers <= 16
    return Room(per_block, machine.vector_registers * 3 // 4 + (2 if few else 0))


def waste(tile: Tile, window: Window) -> float:
    """Share of computed pixels that are dropped, 0 to 1."""
    rows, columns = tile.padded(window)
    return 1 - window.out_height * window.out_width / (rows * columns)


@dataclass(frozen=True)
class Way:
    """What arithmetic costs in a reduction, in cycles.

    ``cycles`` of one accumulator's step, and ``latency`` until the same accumulator can take the
    next. ``activation``: loads that a pixel's activation takes. ``store``: cycles to write and read
    back an accumulator, where a tile takes several passes.
    """

    cycles: float
    latency: float
    activation: int
    store: float


LOAD = 0.5
"""Cycles of a load from the first cache: two start in one."""

LINE = (0.0, 1.0, 12.0)
"""Cycles more that a line of weights takes where it comes from the first, second, third cache."""

OVERLAP = 0.25
"""How much of the shorter of arithmetic and loads shows."""

LOOP = 0.5
"""Cycles of a step beside arithmetic and loads."""


@dataclass(frozen=True)
class Estimate:
    """What the rule thinks of a convolution's tiles.

    ``room`` and ``way`` are those of a nest. The reduction has ``steps``, each of which reads
    ``lane`` bytes of weights for a lane. ``caches`` are the bytes of the first and the second.
    """

    problem: Problem
    room: Room
    way: Way
    steps: int
    lane: int
    caches: tuple[int, int]

    def planes(self) -> list[Planes]:
        """The ways to go through the planes that differ here."""
        by_pairs: dict[int, Planes] = {}
        for planes in PLANES:
            by_pairs.setdefault(self.pairs(Tile(planes=planes)), planes)
        return list(by_pairs.values())

    def pairs(self, tile: Tile) -> int:
        """Pairs of planes in one pass."""
        return tile.pairs(self.problem.bases, self.problem.pairs)

    def bases(self, tile: Tile) -> int:
        """Planes of weights in one pass."""
        return self.problem.bases if tile.planes in ("inside", "activations") else 1

    def fits(self, tile: Tile) -> bool:
        """Whether a tile fits the registers."""
        return self.room.fits(tile, self.problem.pairs, self.problem.bases)

    def sums(self, tile: Tile) -> int:
        """Registers for the sums of one pass."""
        return self.room.accumulators(tile, self.problem.pairs, self.problem.bases)

    def loads(self, tile: Tile) -> int:
        """Loads of activations (a word, or a nibble and its row) and weights in one step."""
        weights = self.bases(tile)
        pixels = tile.rows * tile.columns * (self.pairs(tile) // weights)
        return pixels * self.way.activation + tile.blocks * weights * self.room.registers(tile)

    def tiles(self, tile: Tile) -> int:
        """Tiles of pixels of the whole output."""
        height, width = tile.padded(self.problem.window)
        return height // tile.rows * (width // tile.columns)

    def passes(self, tile: Tile) -> int:
        """How often the reduction runs for the whole output."""
        blocks = self.problem.blocking.blocks // tile.blocks * tile.parts
        return self.tiles(tile) * blocks * (self.problem.pairs // self.pairs(tile))

    def line(self, tile: Tile) -> float:
        """Cycles that a line of weights takes: from the cache that keeps them until the next tile.

        A single tile reads them once, wherever they are.
        """
        lanes = tile.blocks * self.problem.blocking.lanes * self.bases(tile)
        # A part of each row lies in a part of the cache's sets: it takes as much room as the whole.
        size = self.steps * lanes * self.lane
        first, second = self.caches
        level = 0 if size < first // 2 or self.tiles(tile) == 1 else 1 if size < second // 2 else 2
        return LINE[level] * lanes * self.lane / tile.parts / 64

    def step(self, tile: Tile) -> float:
        """Cycles of one step of the reduction."""
        arithmetic = max(self.sums(tile) * self.way.cycles, self.way.latency)
        loads = self.loads(tile) * LOAD + self.line(tile)
        return max(arithmetic, loads) + min(arithmetic, loads) * OVERLAP + LOOP

    def cost(self, tile: Tile) -> float:
        """Cycles of the whole output, its epilogue aside."""
        # More lane blocks are more streams of weights. That pays where a block is one register;
        # else the block's own registers share the activation already (measured on Zen 4: 6 %).
        several = self.room.per_block > 1 and self.tiles(tile) > 1
        streams = 0.06 * (tile.blocks - 1) if several else 0.0
        stored = tile.parts > 1 or self.pairs(tile) < self.problem.pairs
        once = self.sums(tile) * self.way.store if stored else 0.0
        reduction = self.steps * self.step(tile) * (1 + streams + tile.rows / 1000)
        return self.passes(tile) * (reduction + once)


def candidates(work: Estimate) -> Iterator[Tile]:
    """Tiles within the output whose blocks divide the lane blocks."""
    per_block, limit = work.room.per_block, work.room.limit
    window, blocking = work.problem.window, work.problem.blocking
    for planes in work.planes():
        most = 1 if work.room.whole else per_block
        for parts in (n for n in range(1, most + 1) if per_block % n == 0):
            for rows in range(1, min(window.out_height, limit) + 1):
                for columns in range(1, min(window.out_width, limit // rows) + 1):
                    for blocks in range(1, min(blocking.blocks, limit) + 1):
                        if blocking.blocks % blocks == 0:
                            yield Tile(rows, columns, blocks, parts, planes)
