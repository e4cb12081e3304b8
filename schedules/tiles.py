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

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking

from .x86 import family

Kind = Literal["bits", "float", "bytes"]
"""What a convolution sums: planes of bits, float products, or products of levels coded as bytes."""


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

    def accumulators(self, tile: Tile, pairs: int) -> int:
        return tile.rows * tile.columns * tile.blocks * pairs * self.per_block

    def fits(self, tile: Tile, pairs: int) -> bool:
        pixels = tile.rows * tile.columns
        beside = pixels * self.activation + tile.blocks * self.per_block
        return self.accumulators(tile, pairs) + beside <= self.limit


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
    return Budget(per_block, device.vector_registers * 3 // 4 + (2 if _scarce(device) else 0))


def _scarce(device: Registers) -> bool:
    """Weights come from memory where there are 16 registers: they cost less than they take."""
    return device.vector_registers <= 16


def choose_tile(
    device: Registers,
    window: Window,
    blocking: Blocking,
    pairs: int,
    *,
    kind: Kind = "bits",
) -> Tile:
    """The default tile of a convolution on ``device``.

    ``pairs`` is the number of plane pairs, M times N (1 but for "bits"). The tile's blocks divide
    ``blocking.blocks``; its rows and columns need not divide the output. A tile of one pixel and
    one block is always allowed, even where its pairs need more registers than there are.
    """
    room = budget(device, blocking, kind)
    tiles = [t for t in candidates(window, blocking, room) if room.fits(t, pairs)]
    return min(tiles or [Tile()], key=lambda t: instructions(t, window, blocking, pairs, room))


def waste(tile: Tile, window: Window) -> float:
    """Share of computed pixels that are dropped, 0 to 1."""
    rows, columns = tile.padded(window)
    return 1 - window.out_height * window.out_width / (rows * columns)


def candidates(window: Window, blocking: Blocking, room: Budget) -> Iterator[Tile]:
    """Tiles within the output whose blocks divide ``blocking.blocks``."""
    blocks = [n for n in range(1, blocking.blocks + 1) if blocking.blocks % n == 0]
    for rows in range(1, min(window.out_height, room.limit) + 1):
        for columns in range(1, min(window.out_width, room.limit) + 1):
            for count in blocks:
                yield Tile(rows, columns, count)


def instructions(tile: Tile, window: Window, blocking: Blocking, pairs: int, room: Budget) -> float:
    """Relative time of one reduction step over the whole output.

    Arithmetic counts 1 an accumulator, loads 1/4 (they run beside it) and a step of the loop 2.
    """
    height, width = tile.padded(window)
    count = height // tile.rows * (width // tile.columns) * (blocking.blocks // tile.blocks)
    loads = tile.rows * tile.columns + tile.blocks * room.per_block
    # More lane blocks are more streams of weights. That pays where a block is one register; else
    # the block's own registers share the activation already (measured on Zen 4: 6 %).
    streams = 0.06 * (tile.blocks - 1) if room.per_block > 1 else 0.0
    step = room.accumulators(tile, pairs) + loads / 4 + 2
    return count * step * (1 + streams + tile.rows / 1000)
