"""Which tile a convolution gets on NEON when no tuning record names one.

A tile of pixels times a part of a lane block's eight registers fills the vector registers (see
:mod:`.bit_kernel` and :mod:`.float_kernel`). Among the tiles that fit, the one with the fewest
instructions for the whole output wins, surplus pixels of the last tiles and the cost of each call
included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import BYTES, WORDS
from abc_tvm.compute.float_steps import step_channels
from abc_tvm.compute.geometry import Window, words
from abc_tvm.compute.int8_products import code_slots, quads
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.problem import Problem

from .bit_kernel import Registers
from .float_kernel import LATENCY, weights_held
from .microkernel import reachable

Fits = Callable[[int, int], bool]
"""Whether the sums of that many pixels and registers each fit."""

FEW = 7
"""Sums of a tile on 32-bit NEON: with eight and two pixels or more, LLVM spills one of them."""


def fits_steps(dot: bool) -> Fits:
    """On AArch64; ``dot``: with ``udot``."""
    return lambda pixels, registers: Registers.share(pixels, registers, dot) is not None


def fits_few(pixels: int, registers: int) -> bool:
    """On 32-bit NEON."""
    return pixels == 1 or pixels * registers <= FEW


def bit_tiles(fits: Fits, problem: Problem) -> list[Tile]:
    """All tiles that a bit convolution can have."""
    window, registers = problem.window, problem.blocking.lanes // WORDS
    column = problem.pairs * window.groups * words(window.group_in) * BYTES
    return [
        tile
        for tile in _candidates(window, registers)
        if fits(tile.rows * tile.columns, registers // tile.parts)
        and _near(tile, window, column, 4 * 32 * problem.pairs)
    ]


def ranked_bits(fits: Fits, problem: Problem) -> list[Tile]:
    """:func:`bit_tiles`, the fewest instructions first."""
    window, registers = problem.window, problem.blocking.lanes // WORDS
    steps = window.taps * words(window.group_in)

    def cost(tile: Tile) -> float:
        share = registers // tile.parts
        step = 3 * tile.rows * tile.columns * share
        return _instructions(tile, window, share, step, share, steps)

    return sorted(bit_tiles(fits, problem), key=cost)


def float_tiles(window: Window, blocking: Blocking, column: int | None = None) -> list[Tile]:
    """All tiles that a float convolution on AArch64 can have.

    ``column`` is the bytes from one input pixel to the next, where they are not floats.
    """
    registers, channels = blocking.lanes // WORDS, step_channels(window.group_in)
    column = column or 4 * window.groups * (window.group_in + WORDS)
    return [
        tile
        for tile in _candidates(window, registers)
        if weights_held(tile.rows * tile.columns, registers // tile.parts, channels) is not None
        and _near(tile, window, column, 4 * 32)
    ]


def ranked_dots(window: Window, blocking: Blocking, *, in_order: bool = False) -> list[Tile]:
    """Tiles on bytes, the fastest first: of a float convolution with a channel for each four."""
    column = window.groups * code_slots(window.group_in)
    narrow = replace(window, in_channels=window.groups * quads(window.group_in))
    return ranked_floats(narrow, blocking, in_order=in_order, column=column)


def ranked_floats(
    window: Window, blocking: Blocking, *, in_order: bool = False, column: int | None = None
) -> list[Tile]:
    """:func:`float_tiles`, the fastest first by count of instructions and gaps.

    An ``in_order`` core waits six cycles before a load between additions, so the tile's loads
    should come together.
    """
    registers, channels = blocking.lanes // WORDS, step_channels(window.group_in)
    steps = window.taps * -(-window.group_in // channels)

    def cost(tile: Tile) -> float:
        pixels, share = tile.rows * tile.columns, registers // tile.parts
        # Fewer sums than an addition takes cycles leave gaps.
        step = channels * max(pixels * share, LATENCY)
        if in_order and weights_held(pixels, share, channels) != channels * share:
            step += 5 * (pixels + channels * share)
        return _instructions(tile, window, share, step, channels * share, steps)

    return sorted(float_tiles(window, blocking, column), key=cost)


def _candidates(window: Window, registers: int) -> Iterator[Tile]:
    for parts in (n for n in range(1, registers + 1) if registers % n == 0):
        for rows in range(1, min(window.out_height, registers) + 1):
            for columns in range(1, min(window.out_width, registers) + 1):
                yield Tile(rows, columns, 1, parts)


def _near(tile: Tile, window: Window, column: int, out: int) -> bool:
    """Whether a microkernel reaches all pixels of the tile.

    ``column`` bytes from one input pixel to the next may be too many, not too few; the sums of one
    output pixel are ``out`` bytes.
    """
    row = column * (window.reach(1, tile.padded(window)[1]) + sum(window.padding))
    sh, sw = window.stride
    places = [(h, w) for h in range(tile.rows) for w in range(tile.columns)]
    pixels = [h * sh * row + w * sw * column for h, w in places]
    return len(pixels) == 1 or reachable(pixels, [out * n for n in range(len(places))])


def _instructions(
    tile: Tile, window: Window, share: int, arithmetic: int, weights: int, steps: int
) -> float:
    """Relative time of the whole output.

    ``arithmetic`` instructions of one step, and loads of its ``weights`` and of the pixels, at half
    an instruction each, because they run beside the arithmetic on some cores; what steers the loop
    counts two. A call begins and ends with four instructions a sum, and about forty more.
    """
    height, width = tile.padded(window)
    pixels = tile.rows * tile.columns
    step = arithmetic + (pixels + weights) / 2 + 2
    calls = height * width // pixels * tile.parts
    return calls * (steps * step + 4 * pixels * share + 40) * (1 + tile.rows / 1000)
