"""Any other kernel on a GPU: an element of each block's output a thread."""

from __future__ import annotations

from contextlib import suppress

from tvm import s_tir, tirx

from abc_tvm.schedules import blocks

THREADS = 256


def schedule_rest(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Bind every block of a PrimFunc of unknown blocks; reductions stay within a thread."""
    sch = s_tir.Schedule(func)
    for block in blocks.all_of(sch)[:-1]:
        # A reduction stays, and what others read through one.
        with suppress(s_tir.ScheduleError):
            sch.compute_inline(block)
    for block in blocks.all_of(sch):
        loops = sch.get_loops(block)
        kinds = [int(v.iter_type) for v in sch.get(block).iter_vars]
        if not loops:
            sch.bind(sch.add_unit_loop(block), "threadIdx.x")
            continue
        spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == 0]
        if len(spatial) < len(loops):
            sch.reorder(*spatial, *(loop for loop in loops if loop not in spatial))
        fused = sch.fuse(*spatial) if spatial else sch.add_unit_loop(loops[0])
        outer, inner = sch.split(fused, [None, THREADS])
        sch.bind(outer, "blockIdx.x")
        sch.bind(inner, "threadIdx.x")
    return sch.mod["main"]
