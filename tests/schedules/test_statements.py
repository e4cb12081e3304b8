"""Roles are for schedules: what is compiled and recorded has none."""

from __future__ import annotations

import pytest
import tvm_ffi
from tvm import s_tir, te, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.roles import ROLE
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.problem import SUMS
from abc_tvm.schedules.processor.window import schedule_window
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.schedules.statements import with_inner, without_roles
from abc_tvm.targets import load
from tests.schedules.processor.cases import sums_of
from tests.schedules.processor.test_window import by_popcount
from tests.schedules.window_cases import all_outputs, bit_case

BITSERIAL, *_ = SUMS


CASE = bit_case(0, size=(5, 4), channels=(40, 33), kernel=(3, 3), padding=(1, 1, 1, 1), M=2)


def plain() -> tirx.PrimFunc:
    return all_outputs(CASE, CASE.window, by_popcount(Tile(1, 2))).func(False)


def unannotated(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """TVM's own way, which the functions of a processor's schedules do not allow."""
    sch = s_tir.Schedule(func)
    for block in blocks.all_of(sch):
        sch.unannotate(block, ROLE)
    return sch.mod["main"]


def test_nothing_else_changes() -> None:
    func = plain()
    bare = without_roles(func)
    assert ROLE in func.script() and ROLE not in bare.script()
    assert tvm_ffi.structural_equal(bare, unannotated(func))
    assert tvm_ffi.structural_equal(without_roles(bare), bare)
    assert "abc_image" in bare.script(), "what is computed stays"


def test_roles_go_before_or_after_a_schedule() -> None:
    """Also those in the pieces that a schedule cuts a block into."""
    scheduled = schedule_window(plain(), Choice(Tile(1, 2)))
    assert ROLE in scheduled.script()
    assert ROLE not in without_roles(scheduled).script()


@pytest.mark.parametrize("name", ["zen4", "haswell", "x86-64", "rpi3", "rpi5", "rpi-armv7"])
def test_a_scheduler_leaves_none(name: str) -> None:
    made = scheduler_of(load(name))
    plan = made.plan(CASE.window, CASE.blocking, 2, BITSERIAL, 2)
    func = all_outputs(CASE, CASE.window, sums_of(plan)).func(True)
    assert ROLE in func.script()
    assert ROLE not in made.schedule(plan, func).script()


def test_every_kind_of_statement_is_entered() -> None:
    """A block in a branch, a loop, an attribute, a sequence and another block's beginning."""
    body = tirx.Evaluate(tirx.const(0, "int32"))
    block = s_tir.SBlock([], [], [], "inner", body, None, [], [], {ROLE: "value", "other": 1})
    realized = s_tir.SBlockRealize([], tirx.const(1, "bool"), block)
    n, true = tirx.Var("n", "int32"), tirx.const(1, "bool")
    for outer in (
        tirx.SeqStmt([body, realized]),
        tirx.For(n, 0, 4, tirx.ForKind.SERIAL, realized),
        tirx.IfThenElse(true, body, realized),
        tirx.AttrStmt(tirx.const(0, "int32"), "a", tirx.const(0, "int32"), realized),
        tirx.While(true, realized),
        s_tir.SBlockRealize([], true, s_tir.SBlock([], [], [], "outer", body, realized)),
    ):
        bare = without_roles(tirx.PrimFunc([], outer)).script()
        assert ROLE not in bare and '"other": 1' in bare


def test_other_statements_are_themselves() -> None:
    store = tirx.Evaluate(tirx.const(0, "int32"))
    assert with_inner(store, lambda inner: inner).same_as(store)
    x = te.placeholder((4,), "float32", name="x")
    func = te.create_prim_func([x, te.compute((4,), lambda i: x[i], name="y")])
    assert tvm_ffi.structural_equal(without_roles(func), func)
