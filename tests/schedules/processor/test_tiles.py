from __future__ import annotations

import itertools

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.problem import Kind, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.tiles import waste
from abc_tvm.targets import Device, load

DEVICES = ["zen4", "skylake-avx512", "haswell", "x86-64"]
WIDTHS = [1, 2, 3, 5, 7, 13, 14, 17, 28, 30, 56, 112]


def nest_of(device: Device, kind: Kind = "bitserial") -> Ruled:
    family = family_of(device)
    assert isinstance(family, Processor)
    nest = family.nest(kind)
    assert isinstance(nest, Ruled)
    return nest


def square(width: int, channels: int) -> Window:
    return Window(1, width, width, 64, channels)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["bitserial", "float"])
def test_every_tile_is_valid_and_wastes_little(device: str, kind: Kind) -> None:
    machine = load(device)
    for width, blocks, pairs in itertools.product(WIDTHS, [1, 2, 5, 16], [1, 2, 3, 4, 9, 25]):
        window, blocking = square(width, 32 * blocks), Blocking(32 * blocks)
        problem = Problem(window, blocking, pairs, kind)
        nest = nest_of(machine, kind)
        tile = nest.tile(machine, problem)
        at = f"{width} wide, {blocks} blocks, {pairs} pairs: {tile}"
        assert blocking.blocks % tile.blocks == 0, at
        assert tile.rows <= window.out_height and tile.columns <= window.out_width, at
        room = nest.room(machine, blocking)
        assert tile == Tile() or room.fits(tile, pairs), at
        assert waste(tile, window) <= (0.25 if width < 10 else 0.15), at


@pytest.mark.parametrize(
    ("width", "blocks", "tile"),
    [
        (56, 2, Tile(1, 7, 1)),
        (28, 4, Tile(1, 7, 1)),
        (14, 8, Tile(1, 7, 1)),
        (7, 16, Tile(1, 7, 1)),
        (1, 16, Tile(1, 1, 4)),
        (3, 4, Tile(1, 3, 1)),
    ],
)
def test_zen4_keeps_fourteen_accumulators_of_a_resnet(width: int, blocks: int, tile: Tile) -> None:
    """The tiles that benchmarks/kernels.py measures at 90 % of the peak and more."""
    channels = 32 * blocks
    problem = Problem(square(width, channels), Blocking(channels), 1, "bitserial")
    assert nest_of(load("zen4")).tile(load("zen4"), problem) == tile


def test_zen4_holds_useful_numbers_of_accumulators() -> None:
    machine, nest = load("zen4"), nest_of(load("zen4"))
    for width, pairs in itertools.product([7, 13, 14, 17, 28, 30, 56, 112], range(1, 10)):
        problem = Problem(square(width, 128), Blocking(128), pairs, "bitserial")
        held = nest.estimate(machine, problem).sums(nest.tile(machine, problem))
        assert 6 <= held <= 20, (width, pairs)
