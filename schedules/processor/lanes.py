"""The loop nest of kernels without a reduction: a vector of channels at a time.

::

    for b, h (parallel), w, g, o:            # Tile.columns of w unrolled, outside g and o
        lane (vector): read or pool, then the epilogue of the slot's block
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm import s_tir, tirx

from abc_tvm.compute.roles import Role
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice

from .epilogue import OUTER, Epilogue
from .intrinsics import INSTRUCTIONS, Instruction, lower_lanes


def schedule_lanes(
    func: tirx.PrimFunc, choice: Choice, instructions: Mapping[Role, Instruction] = INSTRUCTIONS
) -> tirx.PrimFunc:
    """Schedule a fused kernel that has nothing to sum: its block ``sums`` reads or pools.

    Of ``choice`` columns, parts and cut matter. ``instructions`` are those of the family: see
    :func:`.intrinsics.lower_lanes`.
    """
    sch = s_tir.Schedule(func)
    b, h, w, g, o, lane = sch.get_loops(blocks.only(sch, "sums"))
    epilogue = Epilogue(sch, "sums")
    w, w1 = sch.split(w, [None, choice.tile.columns])
    part, lane = sch.split(lane, [choice.tile.parts, None])
    sch.reorder(b, h, w, g, o, w1, part, lane)
    epilogue.place(o)
    sch.vectorize(lane)
    blocks.unroll(sch, [w1, part])
    epilogue.vectorise()
    sch.parallel(sch.fuse(b, h, w) if choice.cut == "columns" else sch.fuse(b, h))
    epilogue.finish(OUTER)
    return lower_lanes(sch.mod["main"], instructions)
