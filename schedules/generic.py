"""A fair schedule for kernels that are not ours: parallel outside, vectors inside."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV

from . import blocks

VECTOR = 16
FEW = 4
"""A shorter innermost loop (three colours) is left to LLVM, which makes vectors of the loop round
it: 3x224x224 to channels last takes 16 us so, and 42 us as vectors of three (measured on Emerald
Rapids)."""

SCHEDULED = "abc_scheduled"
"""Attribute of a PrimFunc that has its schedule."""


def schedule_any(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Schedule a PrimFunc of unknown blocks; one that refuses a step goes without it."""
    sch = s_tir.Schedule(func)
    try:
        order = blocks.all_of(sch)
    except s_tir.ScheduleError:  # loops without blocks, as TVM writes a scatter
        return func
    for block in order:
        kinds = [str(v.iter_type) for v in sch.get(block).iter_vars]
        loops = sch.get_loops(block)
        if len(kinds) != len(loops) or not loops:
            continue
        spatial = [k == "0" or k == "kDataPar" or "DataPar" in k for k in kinds]
        try:
            if spatial[-1]:
                _vectorise(sch, loops)
            count = 0
            while count < len(loops) - 1 and spatial[count]:
                count += 1
            if count:
                sch.parallel(sch.fuse(*loops[: min(count, 2)]))
        except s_tir.ScheduleError:
            continue
    return sch.mod["main"]


def _vectorise(sch: s_tir.Schedule, loops: list[LoopRV]) -> None:
    width = blocks.extent(sch, loops[-1])
    if width is None or width < FEW:
        return
    if width <= VECTOR:
        sch.vectorize(loops[-1])
    elif width % VECTOR == 0:
        sch.vectorize(sch.split(loops[-1], [None, VECTOR])[1])


def schedule_rest_of(
    mod: tvm.IRModule, schedule: Callable[[tirx.PrimFunc], tirx.PrimFunc] = schedule_any
) -> tvm.IRModule:
    """Schedule every PrimFunc of a module that is not scheduled yet."""
    for gvar, func in mod.functions_items():
        if isinstance(func, tirx.PrimFunc) and SCHEDULED not in (func.attrs or {}):
            body = s_tir.Schedule(func.with_attr("global_symbol", "main")).mod["main"]
            mod.update_func(gvar, schedule(body).without_attr("global_symbol"))
    return mod
