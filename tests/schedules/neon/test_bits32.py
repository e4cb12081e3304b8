"""Bit convolutions on 32-bit NEON, compiled and run in emulation, against NumPy."""

from __future__ import annotations

from typing import Any

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.neon.tiles import FEW
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from tests.schedules.neon.cases import check, most, scheduled_of
from tests.schedules.window_cases import GEOMETRIES, bit_case

NAME = "rpi-armv7"


@pytest.mark.parametrize("geometry", [g for g, _ in GEOMETRIES], ids=str)
def test_every_output_equals_numpy(geometry: dict[str, Any]) -> None:
    check(load(NAME), bit_case(0, **geometry))


@pytest.mark.parametrize("shapes", ["int64", "symbolic"])
def test_index_types(shapes: str) -> None:
    geometry = {"size": (9, 9), "channels": (65, 64), "kernel": (3, 3), "batch": 2, "M": 3, "P": 3}
    check(load(NAME), bit_case(1, **geometry), shapes=shapes)


@pytest.mark.sweep("channels", short=[1, 33, 64], full=[1, 31, 32, 33, 63, 64, 65, 130])
def test_channels_round_word_boundaries(channels: int) -> None:
    border = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
    check(load(NAME), bit_case(channels, size=(4, 5), channels=(channels, channels), **border))


@pytest.mark.parametrize("words", [1, 2, 3, 30, 31, 32, 37, 62, 93])
def test_bytes_never_overflow(words: int) -> None:
    """Up to each widening."""
    check(load(NAME), most(words))


@pytest.mark.parametrize("tile", [Tile(1, 1), Tile(2, 3, 1, 8), Tile(1, FEW, 1, 8)], ids=str)
def test_tiles(tile: Tile) -> None:
    case = bit_case(5, size=(8, 8), channels=(160, 40), kernel=(3, 3), stride=(1, 2), P=2)
    check(load(NAME), case, tile)


def test_sums_of_a_tile_are_unrolled() -> None:
    """Two pixels of a quarter of the lanes are four registers of bytes, each a store of its own."""
    case = bit_case(0, size=(4, 4), channels=(64, 32), kernel=(3, 3))
    text = scheduled_of(scheduler_of(load(NAME)), case, Tile(1, 2, 1, 4)).script()
    assert text.count("T.unroll(2)") >= 4
    assert "vectorized" in text and "parallel" in text
