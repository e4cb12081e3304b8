"""Which register tile a convolution gets when no tuning record names one.

The rule counts registers, then instructions. A tile of ``rows x columns`` pixels and ``blocks``
lane blocks holds its accumulators in vector registers; beside them it needs one register a pixel
(the broadcast activation) and one for each vector of weights. Among the tiles that fit, the one
with the fewest instructions for the whole output wins, surplus pixels of the last tiles included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from abc_tvm.compute.accumulate import PLANES, Planes, Tile
from abc_tvm.compute.byte_products import quads
from abc_tvm.compute.geometry import Window, words
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.nibbles import NIBBLES

from .choice import Order
from .x86 import Family, family

Kind = Literal["bits", "float", "bytes", "lanes", "pool_bits", "pool_codes"]
"""What a kernel sums in its lanes: bits that differ, products of floats or of levels coded as
bytes, or nothing: "lanes" and pooling between two layers on bits or on bytes."""

SUMS: tuple[Kind, ...] = ("bits", "float", "bytes")
POOLS: tuple[Kind, ...] = ("pool_bits", "pool_codes")


class Registers(Protocol):
    """What the rule needs to know of a device."""

    @property
    def isa(self) -> str:
        """Instruction-set family."""

    @property
    def vector_bits(self) -> int:
        """Width of a vector register."""

    @property
    def vector_registers(self) -> int:
        """Number of vector registers."""

    @property
    def l1d_kib(self) -> int:
        """First data cache."""

    @property
    def l2_kib(self) -> int:
        """Second cache."""


@dataclass(frozen=True)
class Budget:
    """Registers of one kernel on one device.

    ``per_block`` hold one accumulator of a lane block; ``limit`` are there for accumulators,
    activations and weights together.
    """

    per_block: int
    limit: int
    activation: int = 1
    """Registers that one pixel's activation takes while its tap is computed."""

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


def budget(device: Registers, blocking: Blocking, kind: Kind) -> Budget:
    """The registers that a kernel of ``kind`` has on ``device``.

    A quarter of them is left to temporaries: LLVM keeps several taps in flight, and a tile that
    only just fits spills (measured on Zen 4: 8 pixels of two registers are slower than 7).
    """
    if kind == "bits" and family(device) == "nibble":
        # Byte sums; rows of the table and weights pass through two or three registers.
        per_block = -(-blocking.lanes * 8 // 256)
        return Budget(per_block, device.vector_registers * 5 // 8, activation=0)
    per_block = -(-blocking.lanes * 32 // device.vector_bits)
    if device.vector_registers > 16:
        return Budget(per_block, device.vector_registers * 3 // 4)
    if kind == "float":
        # Activations pass through one register, as a factor of all products of their pixel.
        return Budget(per_block, device.vector_registers - 1, activation=0)
    return Budget(per_block, device.vector_registers * 3 // 4 + 2)


def choose_tile(
    device: Registers,
    window: Window,
    blocking: Blocking,
    pairs: int,
    *,
    kind: Kind = "bits",
    bases: int = 1,
) -> Tile:
    """The default tile of a convolution on ``device``.

    ``pairs`` is the number of plane pairs, M times N (1 but for "bits"), ``bases`` is M. The tile's
    blocks divide ``blocking.blocks``; its rows and columns need not divide the output. Where no
    tile fits, it is one pixel and one block, a plane of weights at a time.
    """
    work = work_of(device, window, blocking, pairs, kind=kind, bases=bases)
    tiles = [t for t in candidates(work) if work.room.fits(t, pairs, bases)]
    return min(tiles or [Tile()], key=work.cost)


def work_of(
    device: Registers,
    window: Window,
    blocking: Blocking,
    pairs: int,
    *,
    kind: Kind = "bits",
    bases: int = 1,
) -> Work:
    """The convolution as the rule sees it; arguments as in :func:`choose_tile`."""
    room = budget(device, blocking, kind)
    caches = (device.l1d_kib * 1024, device.l2_kib * 1024)
    return Work(window, blocking, pairs, bases, kind, room, family(device), caches)


def choose_order(work: Work) -> Order:
    """The default order of the loops around a tile.

    A block of weights that stays while all pixels pass writes its part of each pixel far from the
    last one. Rows of pixels outside write whole pixels, and read the weights again for each row.
    That pays where an output is made quickly (1x1 convolutions to many channels, counted by
    AVX-512), and the weights come from the second cache at worst: in ABC ResNet-50 (1, 1) 0.98 to
    1.22 times on AMD Zen 5 (``benchmarks/tuning.py order``), and most of what tuning chose on Intel
    Emerald Rapids.
    """
    window, blocks = work.window, work.blocking.blocks
    products = window.taps * window.group_in * work.pairs
    weights = blocks * work.steps * work.bases * work.blocking.lanes * 4
    pays = (
        work.kind == "bits"
        and work.family == "popcount"
        and work.room.per_block <= QUICK_REGISTERS
        and window.groups == 1
        and window.out_height > 1
        and blocks >= FAR_BLOCKS
        and products <= FEW_PAIRS
        and weights <= work.caches[1] // 2
    )
    return "pixels" if pays else "weights"


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


FLOAT = Way(cycles=0.5, latency=4, activation=1, store=2)
DOT = Way(cycles=0.5, latency=5, activation=1, store=2)
WAYS: dict[Family, Way] = {
    "popcount": Way(cycles=1.5, latency=9, activation=1, store=6),
    "nibble": Way(cycles=0.8, latency=2, activation=2, store=2),
}
LOAD = 0.5
"""Cycles of a load from the first cache: two start in one."""

LINE = (0.0, 1.0, 12.0)
"""Cycles more that a line of weights takes where it comes from the first, second, third cache."""

OVERLAP = 0.25
"""How much of the shorter of arithmetic and loads shows."""

LOOP = 0.5
"""Cycles of a step beside arithmetic and loads."""

FEW_PAIRS = 512
"""Binary products of one output below which writing the outputs takes longer than making them."""

QUICK_REGISTERS = 2
"""Registers of a lane block up to which bits are counted as quickly as that."""

FAR_BLOCKS = 8
"""Lane blocks from which on a block's outputs of two pixels lie a kilobyte and more apart."""


@dataclass(frozen=True)
class Work:
    """A convolution, as the rule sees it: ``pairs`` of planes, ``bases`` of them weights'.

    ``caches`` are the bytes of the first and the second.
    """

    window: Window
    blocking: Blocking
    pairs: int
    bases: int
    kind: Kind
    room: Budget
    family: Family
    caches: tuple[int, int]

    def planes(self) -> list[Planes]:
        """The ways to go through the planes that differ here."""
        found: dict[int, Planes] = {}
        for planes in PLANES:
            found.setdefault(Tile(planes=planes).pairs(self.bases, self.pairs), planes)
        return list(found.values())

    @property
    def way(self) -> Way:
        """What the arithmetic costs."""
        if self.kind == "bits":
            return WAYS[self.family]
        return DOT if self.kind == "bytes" else FLOAT

    @property
    def steps(self) -> int:
        """Steps of the reduction: taps and words, nibbles, channels or quadruples of channels."""
        inner = self.window.group_in
        if self.kind == "bytes":
            inner = quads(inner)
        if self.kind == "bits":
            inner = words(inner) * (NIBBLES if self.family == "nibble" else 1)
        return self.window.taps * inner

    def bases_held(self, tile: Tile) -> int:
        """Planes of weights in one pass."""
        return self.bases if tile.planes in ("inside", "activations") else 1

    def loads(self, tile: Tile) -> int:
        """Loads of activations (a word, or a nibble and its row) and weights in one step."""
        weights = self.bases_held(tile)
        held = tile.pairs(self.bases, self.pairs) // weights
        pixels = tile.rows * tile.columns * held
        return pixels * self.way.activation + tile.blocks * weights * self.room.registers(tile)

    def tiles(self, tile: Tile) -> int:
        """Tiles of pixels of the whole output."""
        height, width = tile.padded(self.window)
        return height // tile.rows * (width // tile.columns)

    def passes(self, tile: Tile) -> int:
        """How often the reduction runs for the whole output."""
        blocks = self.blocking.blocks // tile.blocks * tile.parts
        return self.tiles(tile) * blocks * (self.pairs // tile.pairs(self.bases, self.pairs))

    def line(self, tile: Tile) -> float:
        """Cycles that a line of weights takes: from the cache that keeps them until the next tile.

        A single tile reads them once, wherever they are.
        """
        lane = 1 if self.kind == "bits" and self.family == "nibble" else 4
        lanes = tile.blocks * self.blocking.lanes * self.bases_held(tile)
        # A part of each row lies in a part of the cache's sets: it takes as much room as the whole.
        size = self.steps * lanes * lane
        first, second = self.caches
        level = 0 if size < first // 2 or self.tiles(tile) == 1 else 1 if size < second // 2 else 2
        return LINE[level] * lanes * lane / tile.parts / 64

    def step(self, tile: Tile) -> float:
        """Cycles of one step of the reduction."""
        sums = self.room.accumulators(tile, self.pairs, self.bases)
        arithmetic = max(sums * self.way.cycles, self.way.latency)
        loads = self.loads(tile) * LOAD + self.line(tile)
        return max(arithmetic, loads) + min(arithmetic, loads) * OVERLAP + LOOP

    def cost(self, tile: Tile) -> float:
        """Cycles of the whole output, its epilogue aside."""
        # More lane blocks are more streams of weights. That pays where a block is one register;
        # else the block's own registers share the activation already (measured on Zen 4: 6 %).
        several = self.room.per_block > 1 and self.tiles(tile) > 1
        streams = 0.06 * (tile.blocks - 1) if several else 0.0
        stored = tile.parts > 1 or tile.pairs(self.bases, self.pairs) < self.pairs
        sums = self.room.accumulators(tile, self.pairs, self.bases)
        once = sums * self.way.store if stored else 0.0
        reduction = self.steps * self.step(tile) * (1 + streams + tile.rows / 1000)
        return self.passes(tile) * (reduction + once)


def candidates(work: Work) -> Iterator[Tile]:
    """Tiles within the output whose blocks divide the lane blocks."""
    per_block, limit = work.room.per_block, work.room.limit
    for planes in work.planes():
        # The dot product of bytes is put in for whole lane blocks.
        most = 1 if work.kind == "bytes" else per_block
        for parts in (n for n in range(1, most + 1) if per_block % n == 0):
            for rows in range(1, min(work.window.out_height, limit) + 1):
                for columns in range(1, min(work.window.out_width, limit // rows) + 1):
                    for blocks in range(1, min(work.blocking.blocks, limit) + 1):
                        if work.blocking.blocks % blocks == 0:
                            yield Tile(rows, columns, blocks, parts, planes)
