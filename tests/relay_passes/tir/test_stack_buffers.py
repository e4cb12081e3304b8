"""Sums that fit in registers are never written to a workspace."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tvm_ffi
from tvm import tirx
from tvm.script import tirx as T

from abc_tvm import zoo
from abc_tvm.compute.accumulate import Tile
from abc_tvm.records.task import Task
from abc_tvm.relay_passes.tir.stack_buffers import keep_on_stack, lowering_of, stack_bytes
from abc_tvm.targets import load
from abc_tvm.tuning.measure import compiled
from abc_tvm.tuning.network import tasks_of

CALL = "TVMBackendAllocWorkspace"


@pytest.mark.parametrize(
    ("name", "size"), [("zen4", 1536), ("sapphirerapids", 1536), ("haswell", 384), ("rpi4", 384)]
)
def test_as_many_bytes_as_registers_for_sums(name: str, size: int) -> None:
    assert stack_bytes(load(name)) == size


@pytest.mark.parametrize("name", ["haswell", "rpi4", "cuda-sm90"])
def test_tvm_keeps_what_other_devices_have_registers_for(name: str) -> None:
    assert lowering_of(load(name)) == "default"


@pytest.fixture(scope="module")
def task() -> Task:
    """A convolution of nine pairs of planes."""
    tasks = tasks_of(zoo.build("lenet", 3, 3, batch=1), load("zen4"), lowering="bitserial")
    return next(task for task in tasks if task.workload.problem.pairs == 9)


@pytest.mark.parametrize(
    ("tile", "size"),
    [(Tile(1, 1, 1), 1152), (Tile(1, 1, 1, 1, "weights"), 384), (Tile(1, 2, 1), 2304)],
)
def test_sums_are_in_registers_or_in_a_workspace(task: Task, tile: Tile, size: int) -> None:
    """Nine pairs of 32 sums are eighteen registers: more than TVM keeps, fewer than there are."""
    device = load("zen4")
    choice = replace(task.default, tile=tile)
    built = compiled(task.workload.lowered(device, choice), device)
    code = str(getattr(built, "mod", built).inspect_source("asm"))
    assert (CALL in code) == (size > stack_bytes(device))


def test_only_what_is_between_the_limits_is_marked() -> None:
    @T.prim_func(s_tir=True)
    def func(out: T.Buffer((4,), "float32")) -> None:  # type: ignore[valid-type]
        for i in T.serial(4):
            out[i] = T.float32(0)

    def kept(elements: int) -> bool:
        buffer = tirx.decl_buffer((elements,), "float32", "sums")
        body = tirx.SeqStmt([tirx.AllocBuffer(buffer), func.body])
        loop = tirx.For(tirx.Var("i", "int32"), 0, 2, tirx.ForKind.PARALLEL, body)
        found = keep_on_stack(tirx.IfThenElse(tirx.IntImm("bool", 1), loop, None), 1536)
        assert tvm_ffi.structural_equal(found.then_case.body.seq[1], func.body)
        assert found.then_case.kind == tirx.ForKind.PARALLEL
        return bool(found.then_case.body.seq[0].annotations)

    assert [kept(elements) for elements in (255, 256, 384, 385)] == [False, True, True, False]
