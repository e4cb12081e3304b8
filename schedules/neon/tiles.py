"""Which tile a bit convolution gets on NEON when no tuning record names one.

A tile of pixels times a part of a lane block's eight registers fills the vector registers (see
:class:`.microkernel.Registers`). Among the tiles that fit, the one with the fewest instructions for
the whole output wins, surplus pixels of the last tiles and the cost of each call included.
"""

from __future__ import annotations

from collections.abc import Iterator

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import BYTES, WORDS
from abc_tvm.compute.geometry import Window, words
from abc_tvm.compute.lanes import Blocking

from . import Family
from .microkernel import Registers, reachable

FEW = 7
"""Sums of a tile on 32-bit NEON: with eight and two pixels or more, LLVM spills one of them."""


def choose_bits(family: Family, window: Window, blocking: Blocking, pairs: int) -> Tile:
    """The default tile of a bit convolution with ``pairs`` pairs of planes."""
    registers = blocking.lanes // WORDS
    tiles = [
        tile
        for tile in _candidates(window, registers)
        if _fits(family, tile, registers) and reachable(_offsets(tile, window, pairs))
    ]
    return min(tiles, key=lambda tile: _instructions(tile, window, registers))


def _candidates(window: Window, registers: int) -> Iterator[Tile]:
    for parts in (n for n in range(1, registers + 1) if registers % n == 0):
        for rows in range(1, min(window.out_height, registers) + 1):
            for columns in range(1, min(window.out_width, registers) + 1):
                yield Tile(rows, columns, 1, parts)


def _fits(family: Family, tile: Tile, registers: int) -> bool:
    pixels, share = tile.rows * tile.columns, registers // tile.parts
    if family == "bytes32":
        return pixels == 1 or pixels * share <= FEW
    return Registers.share(pixels, share, family == "dot") is not None


def _offsets(tile: Tile, window: Window, planes: int) -> list[int]:
    """Bytes from the first pixel of the tile to each; ``planes`` may be too many, not too few."""
    column = planes * window.groups * words(window.group_in) * BYTES
    row = column * (window.reach(1, tile.padded(window)[1]) + sum(window.padding))
    sh, sw = window.stride
    return [h * sh * row + w * sw * column for h in range(tile.rows) for w in range(tile.columns)]


def _instructions(tile: Tile, window: Window, registers: int) -> float:
    """Relative time of the whole output.

    A load costs half an instruction, as it runs beside them on some cores; a turn of the loop two.
    A call begins and ends with four instructions a sum, and about forty more.
    """
    height, width = tile.padded(window)
    pixels, share = tile.rows * tile.columns, registers // tile.parts
    steps = window.taps * words(window.group_in)
    step = 3 * pixels * share + (pixels + share) / 2 + 2
    calls = height * width // pixels * tile.parts
    return calls * (steps * step + 4 * pixels * share + 40) * (1 + tile.rows / 1000)
