from __future__ import annotations

import itertools
from typing import Any

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.space import Space
from abc_tvm.schedules.tiles import Kind, budget, choose_order, choose_tile, waste, work_of
from abc_tvm.schedules.x86 import family
from abc_tvm.targets import load

DEVICES = ["zen4", "skylake-avx512", "haswell", "x86-64"]
WIDTHS = [1, 2, 3, 5, 7, 13, 14, 17, 28, 30, 56, 112]


def square(width: int, channels: int) -> Window:
    return Window(1, width, width, 64, channels)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["bits", "float"])
def test_every_tile_is_valid_and_wastes_little(device: str, kind: Kind) -> None:
    machine = load(device)
    for width, blocks, pairs in itertools.product(WIDTHS, [1, 2, 5, 16], [1, 2, 3, 4, 9, 25]):
        window, blocking = square(width, 32 * blocks), Blocking(32 * blocks)
        tile = choose_tile(machine, window, blocking, pairs, kind=kind)
        at = f"{width} wide, {blocks} blocks, {pairs} pairs: {tile}"
        assert blocking.blocks % tile.blocks == 0, at
        assert tile.rows <= window.out_height and tile.columns <= window.out_width, at
        room = budget(machine, blocking, kind)
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
    assert choose_tile(load("zen4"), square(width, channels), Blocking(channels), 1) == tile


def test_zen4_holds_useful_numbers_of_accumulators() -> None:
    machine = load("zen4")
    for width, pairs in itertools.product([7, 13, 14, 17, 28, 30, 56, 112], range(1, 10)):
        window, blocking = square(width, 128), Blocking(128)
        held = budget(machine, blocking, "bits").accumulators(
            choose_tile(machine, window, blocking, pairs), pairs
        )
        assert 6 <= held <= 20, (width, pairs)


def test_family_follows_the_popcount_instruction() -> None:
    kinds = {name: family(load(name)) for name in (*DEVICES, "zen3", "icelake-server")}
    assert kinds == {
        "zen4": "popcount",
        "icelake-server": "popcount",
        "skylake-avx512": "nibble",
        "haswell": "nibble",
        "zen3": "nibble",
        "x86-64": "popcount",
    }


@pytest.mark.parametrize(
    ("channels", "more", "order"),
    [
        ((256, 1024), {}, "pixels"),
        ((64, 256), {}, "pixels"),
        ((1024, 256), {}, "weights"),  # much to count for an output
        ((64, 256), {"pairs": 9}, "weights"),
        ((256, 128), {}, "weights"),  # outputs lie together
        ((512, 16384), {}, "weights"),  # 1 MB of weights, read again for each row
        ((256, 1024), {"groups": 4}, "weights"),
        ((256, 1024), {"height": 1}, "weights"),
        ((256, 1024), {"name": "haswell"}, "weights"),
        ((256, 1024), {"kind": "float"}, "weights"),
    ],
)
def test_rows_of_pixels_go_first_where_outputs_are_many_and_quick(
    channels: tuple[int, int], more: dict[str, Any], order: str
) -> None:
    inputs, outputs = channels
    machine, kind = load(more.get("name", "zen5")), more.get("kind", "bits")
    groups, height = more.get("groups", 1), more.get("height", 14)
    window = Window(1, height, 14, inputs, outputs, groups=groups)
    blocking = Blocking(outputs, groups)
    work = work_of(machine, window, blocking, more.get("pairs", 1), kind=kind)
    assert choose_order(work) == order
    space = Space(machine, window, blocking, more.get("pairs", 1), kind)
    assert space.default().order == order
    if space.knobs.get("order"):
        assert space.knobs["order"][0] == order
