"""Loops over lanes become instructions: those of the named roles, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import s_tir, te, tirx

from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import bit_output
from abc_tvm.compute.roles import ROLE, notes
from abc_tvm.schedules import blocks
from abc_tvm.schedules.processor.intrinsics import INSTRUCTIONS, LANES, all_lanes, lower_lanes
from tests.schedules.window_cases import bits_of, call, placeholder


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 64])
def test_truth_values_become_one_word(channels: int, rng: np.random.Generator) -> None:
    blocking = Blocking(channels)
    values = rng.integers(-2, 3, (1, 1, 2, 1, blocking.blocks, 32)).astype(np.int32)
    x = placeholder("x", values)
    out = bit_output("y", 1, 1, 2, blocking, lambda p, at: x[at] > p, 2)
    func = lower_lanes(te.create_prim_func([x, out]))
    assert "reinterpret" in func.script()
    words = call(func, [values, np.zeros([int(n) for n in out.shape], np.uint32)])[-1]
    flat = values.reshape(1, 1, 2, -1)[..., :channels]
    for p in range(2):
        np.testing.assert_array_equal(bits_of(words[:, :, :, p], blocking), flat > p)


def sums(role: bool = True) -> tuple[te.Tensor, te.Tensor]:
    """``[32]`` sums of three rows, the lane innermost."""
    x = te.placeholder((3, LANES), "int32", name="x")
    k = te.reduce_axis((0, 3), name="k")
    attrs = notes("sums") if role else {}
    return x, te.compute((LANES,), lambda l: te.sum(x[k, l], axis=k), name="y", attrs=attrs)


def scheduled(x: te.Tensor, y: te.Tensor) -> tirx.PrimFunc:
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    [block] = blocks.all_of(sch)
    lane, k = sch.get_loops(block)
    sch.reorder(k, lane)
    sch.decompose_reduction(block, k)
    return sch.mod["main"]


def added(store: tirx.BufferStore) -> tirx.Stmt:
    """``y[lanes] = y[lanes] + x[k, lanes]``."""
    total = all_lanes(store.value.a) + all_lanes(store.value.b)
    at = [tirx.Ramp(store.indices[-1], tirx.const(1, "int32"), LANES)]
    return tirx.BufferStore(store.buffer, total, at)


def test_an_instruction_replaces_what_adds_and_not_what_clears() -> None:
    func = lower_lanes(scheduled(*sums()), {"sums": added})
    text = func.script()
    assert text.count(":v_l + 32] = ") == 1 and "y[v_l] = 0" in text
    values = np.arange(3 * LANES, dtype=np.int32).reshape(3, LANES)
    made = call(func, [values, np.zeros(LANES, np.int32)])[-1]
    np.testing.assert_array_equal(made, values.sum(0))


def test_other_roles_are_left() -> None:
    for func, table in ((scheduled(*sums(role=False)), {"sums": added}),
                        (scheduled(*sums()), INSTRUCTIONS)):  # fmt: skip
        assert lower_lanes(func, table).script() == func.script()


def test_a_whole_block_gets_another_body() -> None:
    x, y = sums()
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    [block] = blocks.all_of(sch)
    sch.annotate(sch.blockize(sch.get_loops(block)[0]), ROLE, "tile")

    def emit(tile: s_tir.SBlock) -> tirx.Stmt:
        lane, target = tirx.Var("n", "int32"), tile.writes[0].source
        store = tirx.BufferStore(target, tirx.const(5, "int32"), [lane])
        return tirx.For(lane, 0, LANES, tirx.ForKind.SERIAL, store)

    func = lower_lanes(sch.mod["main"], whole={"tile": emit})
    made = call(func, [np.ones((3, LANES), np.int32), np.zeros(LANES, np.int32)])[-1]
    assert (made == 5).all()
