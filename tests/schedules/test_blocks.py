from __future__ import annotations

import pytest
from tvm import s_tir, te, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.lanes import stage
from abc_tvm.schedules import blocks
from tests.schedules.processor.test_window import by_popcount
from tests.schedules.window_cases import all_outputs, bit_case

CASE = bit_case(0, size=(5, 4), channels=(40, 33), kernel=(3, 3), padding=(1, 1, 1, 1))


def fused() -> tirx.PrimFunc:
    return all_outputs(CASE, CASE.window, by_popcount(Tile())).func(False)


def test_blocks_are_found_by_their_role() -> None:
    sch = s_tir.Schedule(fused())
    assert sch.get(blocks.only(sch, "sums")).name_hint == "acc"
    packed = [sch.get(block).name_hint for block in blocks.of_role(sch, "pack", "word")]
    assert sorted(packed) == ["pack_one", "pack_two", "word_one", "word_two"]
    assert blocks.of_role(sch, "partial") == []
    with pytest.raises(ValueError, match="one block 'word', this one has 2"):
        blocks.only(sch, "word")
    with pytest.raises(ValueError, match="one block 'partial', this one has 0"):
        blocks.only(sch, "partial")


def test_a_name_says_nothing() -> None:
    x = te.placeholder((4,), "float32", name="x")
    func = te.create_prim_func([x, te.compute((4,), lambda i: x[i], name="acc")])
    assert not blocks.has(func, "sums")
    other = te.create_prim_func([x, stage("anything", (4,), lambda at: x[at], "sums")])
    assert blocks.has(other, "sums")


def test_both_ways_of_listing_agree() -> None:
    func = fused()
    sch = s_tir.Schedule(func)
    order = [(role, str(sch.get(block).name_hint)) for role, block in blocks.with_roles(sch)]
    body = blocks.in_order(func.body.block.body)
    assert order == [(blocks.role_of(block), str(block.name_hint)) for block in body]
    assert len(order) == 13 and None not in [role for role, _ in order]


def loops_of(*shape: int) -> tuple[s_tir.Schedule, list[s_tir.schedule.LoopRV]]:
    x = te.placeholder(shape, "float32", name="x")
    func = te.create_prim_func([x, te.compute(shape, lambda *at: x[at], name="y")])
    sch = s_tir.Schedule(func)
    return sch, sch.get_loops(blocks.all_of(sch)[0])


@pytest.mark.parametrize(
    ("scratch", "steps"),
    [
        (blocks.STACK_BYTES - 4, 96),  # on the stack: as many as there are
        (blocks.STACK_BYTES, 16),  # 96 // (8 * 2) steps of a task, of two cores' sixteen
    ],
)
def test_tasks_with_memory_of_their_own_are_longer(scratch: int, steps: int) -> None:
    sch, loops = loops_of(8, 12, 3)
    count = blocks.parallel(sch, loops[:2], 2, scratch)
    outer = sch.get(sch.get_loops(blocks.all_of(sch)[0])[0])
    assert outer.kind == tirx.ForKind.PARALLEL and int(outer.extent) == steps
    assert count == (1 if steps == 96 else 2)


def test_a_task_is_a_whole_number_of_steps() -> None:
    """Of 26 steps, three a task would leave a rest: two."""
    sch, loops = loops_of(26, 2)
    blocks.parallel(sch, loops[:1], 1, blocks.STACK_BYTES)
    assert int(sch.get(sch.get_loops(blocks.all_of(sch)[0])[0]).extent) == 13


def test_open_loops_are_not_unrolled() -> None:
    n = tirx.Var("n", "int32")
    x = te.placeholder((n, 4), "float32", name="x")
    sch = s_tir.Schedule(
        te.create_prim_func([x, te.compute((n, 4), lambda i, j: x[i, j], name="y")])
    )
    loops = sch.get_loops(blocks.all_of(sch)[0])
    assert [blocks.extent(sch, loop) for loop in loops] == [None, 4]
    blocks.unroll(sch, loops)
    assert [sch.get(loop).kind for loop in loops] == [tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED]
