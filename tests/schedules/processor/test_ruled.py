from __future__ import annotations

import itertools

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.problem import SUMS, Kind, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.nest import MOST
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.targets import load

BITSERIAL, *_ = SUMS


KINDS: list[Kind] = [BITSERIAL, "float"]


def ruled(name: str, kind: Kind) -> Ruled:
    family = family_of(load(name))
    assert isinstance(family, Processor)
    nest = family.nest(kind)
    assert isinstance(nest, Ruled)
    return nest


def problem_of(width: int, blocks: int, pairs: int, kind: Kind) -> Problem:
    window = Window(1, width, width, 64, 32 * blocks, (3, 3), padding=(1, 1, 1, 1))
    return Problem(window, Blocking(32 * blocks), pairs if kind != "float" else 1, kind)


@pytest.mark.parametrize("name", ["zen4", "haswell", "x86-64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_default_comes_first_and_each_tile_once(name: str, kind: Kind) -> None:
    nest, machine = ruled(name, kind), load(name)
    for width, blocks, pairs in itertools.product([1, 7, 14], [1, 2, 6], [1, 9]):
        problem = problem_of(width, blocks, pairs, kind)
        tiles = nest.tiles(machine, problem)
        assert tiles[0] == nest.tile(machine, problem)
        assert len(set(tiles)) == len(tiles) <= MOST
        assert all(problem.blocking.blocks % tile.blocks == 0 for tile in tiles)


def test_tiles_beyond_the_default_use_every_register() -> None:
    """And never more: the quarter for temporaries is what the space adds."""
    nest, machine = ruled("zen4", BITSERIAL), load("zen4")
    problem = problem_of(14, 4, 1, BITSERIAL)
    room = nest.room(machine, problem.blocking)
    taken = [
        room.accumulators(t, 1) + t.rows * t.columns + t.blocks * room.registers(t)
        for t in nest.tiles(machine, problem)
    ]
    assert room.limit < max(taken) <= machine.vector_registers


def test_where_nothing_fits_the_least_tile_is_taken() -> None:
    nest, machine = ruled("x86-64", BITSERIAL), load("x86-64")
    wide = Problem(Window(1, 7, 7, 64, 512), Blocking(512, 1, 512), 9, BITSERIAL, 3)
    work = nest.estimate(machine, wide)
    tile = nest.tile(machine, wide)
    assert work.fits(tile) or tile == Tile()


def test_tiles_are_ranked_by_the_cost() -> None:
    nest, machine = ruled("haswell", "float"), load("haswell")
    problem = problem_of(28, 4, 1, "float")
    work = nest.estimate(machine, problem)
    costs = [work.cost(tile) for tile in nest.tiles(machine, problem)[1:]]
    assert costs == sorted(costs)
