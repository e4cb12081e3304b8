from __future__ import annotations

import numpy as np
import pytest
from tvm import s_tir, te, tirx

from abc_tvm.compute.accumulate import Tile, combine, popcounts
from abc_tvm.compute.lanes import stage
from abc_tvm.compute.roles import ROLE
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.processor.skeleton import Skeleton
from tests.schedules.window_cases import BitCase, bit_case, call, placeholder

CASE = bit_case(0, size=(6, 6), channels=(64, 96), kernel=(3, 3), M=2, P=3)
FACTORS = np.array([1, -2, 3, 5, -7, 4], np.int32).reshape(2, 3, 1)


def fused(case: BitCase, tile: Tile) -> tuple[tirx.PrimFunc, list[np.ndarray]]:
    """The weighed sum of all pairs of planes, stored lane by lane; its arguments."""
    values = [case.bits(), case.planes(), FACTORS]
    inputs = [placeholder(name, value) for name, value in zip("AWK", values, strict=True)]
    acc = popcounts(*inputs[:2], case.window, case.blocking, tile)
    total = combine(acc, inputs[2], case.window, case.blocking, "int32")
    out = stage("out", tuple(total.shape), lambda at: total[at] + 1)
    empty = np.zeros([int(n) for n in out.shape], np.int32)
    return te.create_prim_func([*inputs, out]), [*values, empty]


def extents(nest: Skeleton) -> list[int | None]:
    return [blocks.extent(nest.sch, loop) for loop in nest.sch.get_loops(nest.block)]


def test_loops_are_told_apart() -> None:
    tile = Tile(2, 3, 3)
    nest = Skeleton(fused(CASE, tile)[0], Choice(tile), 1)
    held = [[blocks.extent(nest.sch, n) for n in loops] for loops in (nest.tile, nest.planes)]
    assert held == [[2, 3, 3], [2, 3]]
    assert [blocks.extent(nest.sch, n) for n in nest.taps] == [3, 3, 2]
    assert blocks.extent(nest.sch, nest.lane) == 32 and nest.sums == 2 * 3 * 32
    alone = Skeleton(fused(CASE, tile)[0], Choice(tile), 1, several=False)
    assert [blocks.extent(alone.sch, n) for n in alone.tile] == [2, 3]


@pytest.mark.parametrize(
    ("order", "round_tile"), [("weights", [1, 1, 3, 2, 1]), ("pixels", [1, 1, 2, 3, 1])]
)
def test_blocks_of_weights_or_rows_of_pixels_go_first(order: str, round_tile: list[int]) -> None:
    choice = Choice(Tile(2, 4, 1), order="weights" if order == "weights" else "pixels")
    nest = Skeleton(fused(CASE, choice.tile)[0], choice, 1)
    nest.order([*nest.planes, *nest.taps, *nest.tile, nest.lane])
    assert extents(nest) == [*round_tile, 2, 3, 3, 3, 2, 2, 4, 1, 32]


@pytest.mark.parametrize(("cut", "outer"), [("rows", 2), ("columns", 1)])
def test_a_step_in_parallel_is_a_row_of_tiles_or_a_tile(cut: str, outer: int) -> None:
    choice = Choice(Tile(2, 2, 1), cut="rows" if cut == "rows" else "columns")
    nest = Skeleton(fused(CASE, choice.tile)[0], choice, 1)
    nest.order([*nest.planes, *nest.taps, *nest.tile, nest.lane])
    # 3072 bytes of sums are memory of a task's own, which then is longer than one step.
    assert 4 * nest.sums * 4 >= blocks.STACK_BYTES
    assert nest.around() == outer
    first = nest.sch.get(nest.sch.get_loops(nest.block)[0])
    assert first.kind == tirx.ForKind.PARALLEL
    steps = 3 * 2 * (1 if cut == "rows" else 2)
    assert int(first.extent) == steps


@pytest.mark.parametrize("order", ["weights", "pixels"])
@pytest.mark.parametrize("cut", ["rows", "columns"])
@pytest.mark.parametrize("tile", [Tile(), Tile(3, 4, 1), Tile(2, 3, 3)], ids=str)
def test_whatever_is_inside_the_kernel_is_the_same(tile: Tile, order: str, cut: str) -> None:
    choice = Choice(
        tile,
        order="weights" if order == "weights" else "pixels",
        cut="rows" if cut == "rows" else "columns",
    )
    func, arguments = fused(CASE, tile)
    nest = Skeleton(func, choice, 2)
    nest.order([*nest.planes, *nest.taps, *nest.tile, nest.lane])
    nest.around()
    nest.sch.decompose_reduction(nest.block, nest.taps[0])
    made = call(nest.finish(), arguments)[-1]
    expected = (CASE.counts() * FACTORS[..., 0]).sum((4, 5)) + 1
    np.testing.assert_array_equal(made.reshape(expected.shape), expected)


def test_two_blocks_of_a_role_are_an_error() -> None:
    func, _ = fused(CASE, Tile())
    sch = s_tir.Schedule(func)
    sch.unannotate(sch.get_sblock("out"), ROLE)
    sch.annotate(sch.get_sblock("out"), ROLE, "sums")
    with pytest.raises(ValueError, match="one block 'sums', this one has 2"):
        Skeleton(sch.mod["main"], Choice(), 1)
