from __future__ import annotations

import itertools

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules import neon
from abc_tvm.schedules.neon.bit_kernel import Registers
from abc_tvm.schedules.neon.float_kernel import weights_held
from abc_tvm.schedules.neon.tiles import choose_bits, choose_floats
from abc_tvm.schedules.tiles import waste
from abc_tvm.targets import load, names

WIDTHS = [1, 2, 3, 5, 7, 13, 14, 28, 56, 112]


def square(width: int, channels: int) -> tuple[Window, Blocking]:
    return Window(1, width, width, channels, channels, (3, 3), padding=(1,) * 4), Blocking(channels)


@pytest.mark.parametrize("counted", ["bytes", "dot", "bytes32"])
def test_every_tile_of_bits_fits_and_wastes_little(counted: neon.Family) -> None:
    for width, channels, pairs in itertools.product(WIDTHS, [1, 64, 130], [1, 9, 128]):
        window, blocking = square(width, channels)
        tile = choose_bits(counted, window, blocking, pairs)
        at = f"{width} wide, {channels} channels, {pairs} pairs: {tile}"
        pixels, registers = tile.rows * tile.columns, 8 // tile.parts
        assert 8 % tile.parts == 0 and tile.blocks == 1, at
        if counted == "bytes32":
            assert pixels == 1 or pixels * registers < 8, at
        else:
            assert Registers.share(pixels, registers, counted == "dot"), at
        assert pixels * pairs * 128 <= 65536 or pixels == 1, at
        assert waste(tile, window) <= 0.2, at


@pytest.mark.parametrize(
    ("width", "tile"),
    [(56, Tile(1, 4, 1, 2)), (28, Tile(1, 4, 1, 2)), (14, Tile(2, 2, 1, 2)), (7, Tile(1, 7, 1, 4))],
)
def test_tiles_of_a_resnet(width: int, tile: Tile) -> None:
    """Those that benchmarks/arm_static.py finds within 1.15 (A72) and 1.3 (A53) of the bound."""
    assert choose_bits("bytes", *square(width, 3584 // width), 1) == tile


def test_float_tiles_fill_the_registers() -> None:
    for width, channels, in_order in itertools.product([7, 14, 28, 56], [3, 64], [True, False]):
        tile = choose_floats(*square(width, channels), in_order=in_order)
        pixels, registers = tile.rows * tile.columns, 8 // tile.parts
        assert pixels * registers >= 14
        held = weights_held(pixels, registers, min(channels, 4))
        assert held
        if in_order:
            assert held == registers * min(channels, 4), "all loads come together"


def test_family_follows_the_instruction_set() -> None:
    kinds = {name: neon.family(load(name)) for name in names()}
    assert {name: kind for name, kind in kinds.items() if kind} == {
        "aarch64": "bytes",
        "rpi3": "bytes",
        "rpi4": "bytes",
        "rpi5": "dot",
        "rpi-armv7": "bytes32",
    }
