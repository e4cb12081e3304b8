"""The loop nest of kernels without a reduction: a vector of channels at a time.

::

    for b, h (parallel), w, g, o:            # Tile.columns of w unrolled, outside g and o
        lane (vector): read or pool, then the epilogue of the slot's block
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import s_tir

from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice

from .intrinsics import INSTRUCTIONS, Instruction, lower_lanes
from .spatial import schedule_rest
from .window import schedule_tile_stage


def schedule_lanes(
    func: Any, choice: Choice, instructions: Mapping[str, Instruction] = INSTRUCTIONS
) -> Any:
    """Schedule a fused kernel whose first block ``acc`` has no reduction. Returns a PrimFunc.

    Of ``choice`` columns, parts and cut matter. ``instructions`` are those of the family: see
    :func:`.intrinsics.lower_lanes`.
    """
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    acc = sch.get_sblock("acc")
    b, h, w, g, o, lane = sch.get_loops(acc)
    w, w1 = sch.split(w, [None, choice.tile.columns])
    part, lane = sch.split(lane, [choice.tile.parts, None])
    sch.reorder(b, h, w, g, o, w1, part, lane)
    epilogue = [n for n in order[order.index("acc") + 1 :] if not n.startswith("crop_")]
    for name in epilogue:
        sch.reverse_compute_at(sch.get_sblock(name), o, preserve_unit_loops=True)
    sch.vectorize(lane)
    blocks.unroll(sch, [w1, part])
    for name in epilogue:
        schedule_tile_stage(sch, name)
    sch.parallel(sch.fuse(b, h, w) if choice.cut == "columns" else sch.fuse(b, h))
    schedule_rest(sch, [n for n in order if n.startswith("crop_")])
    return lower_lanes(sch.mod["main"], instructions)
