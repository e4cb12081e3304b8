from __future__ import annotations

import itertools

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.neon.bit_kernel import Registers
from abc_tvm.schedules.neon.float_kernel import weights_held
from abc_tvm.schedules.neon.tiles import (
    Fits,
    fits_few,
    fits_steps,
    ranked_bits,
    ranked_dots,
    ranked_floats,
)
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.tiles import waste

WIDTHS = [1, 2, 3, 5, 7, 13, 14, 28, 56, 112]


def square(width: int, channels: int) -> tuple[Window, Blocking]:
    return Window(1, width, width, channels, channels, (3, 3), padding=(1,) * 4), Blocking(channels)


def bits(width: int, channels: int, pairs: int) -> Problem:
    return Problem(*square(width, channels), pairs, "bitserial")


@pytest.mark.parametrize("fits", [fits_steps(False), fits_steps(True), fits_few])
def test_every_tile_of_bits_fits_and_wastes_little(fits: Fits) -> None:
    for width, channels, pairs in itertools.product(WIDTHS, [1, 64, 130], [1, 9, 128]):
        problem = bits(width, channels, pairs)
        tile, window = ranked_bits(fits, problem)[0], problem.window
        at = f"{width} wide, {channels} channels, {pairs} pairs: {tile}"
        pixels, registers = tile.rows * tile.columns, 8 // tile.parts
        assert 8 % tile.parts == 0 and tile.blocks == 1, at
        assert fits(pixels, registers), at
        assert pixels * pairs * 128 <= 65536 or pixels == 1, at
        assert waste(tile, window) <= 0.2, at


@pytest.mark.parametrize(
    ("width", "tile"),
    [(56, Tile(1, 4, 1, 2)), (28, Tile(1, 4, 1, 2)), (14, Tile(2, 2, 1, 2)), (7, Tile(1, 7, 1, 4))],
)
def test_tiles_of_a_resnet(width: int, tile: Tile) -> None:
    """Those that benchmarks/arm_static.py finds within 1.15 (A72) and 1.3 (A53) of the bound."""
    assert ranked_bits(fits_steps(False), bits(width, 3584 // width, 1))[0] == tile


def test_what_fits() -> None:
    assert fits_few(1, 8) and fits_few(7, 1) and not fits_few(2, 4)
    for pixels, registers in itertools.product(range(1, 9), [1, 2, 4, 8]):
        for dot in (False, True):
            shared = Registers.share(pixels, registers, dot)
            assert fits_steps(dot)(pixels, registers) is (shared is not None)


def test_float_tiles_fill_the_registers() -> None:
    for width, channels, in_order in itertools.product([7, 14, 28, 56], [3, 64], [True, False]):
        tile = ranked_floats(*square(width, channels), in_order=in_order)[0]
        pixels, registers = tile.rows * tile.columns, 8 // tile.parts
        assert pixels * registers >= 14
        held = weights_held(pixels, registers, min(channels, 4))
        assert held
        if in_order:
            assert held == registers * min(channels, 4), "all loads come together"


def test_bytes_are_tiled_as_floats_with_a_channel_for_each_four() -> None:
    dots = ranked_dots(*square(14, 256))
    assert dots and dots[0] == ranked_floats(*square(14, 64), column=256)[0]
