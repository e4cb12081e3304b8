"""The loop nest of the lookup kernels, for AVX2 and AVX-512 without a vector popcount.

::

    for b, g, o0, h0 (parallel), w0:
        for m, p (those of Tile.planes):
            for kh0, kw0, n0:                    # as much as a byte can sum
                for kh1, kw1, n1:
                    for h1, w1, o1, m, p:        # unrolled: byte sums stay in registers
                        all lanes: sum += shuffle(row of the activation nibble, weight nibbles)
                for h1, w1, o1, m, p: wide sums += byte sums
        epilogue of the tile
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import s_tir

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.nibbles import NIBBLES
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.intrinsics import lower_lanes
from abc_tvm.schedules.spatial import schedule_rest
from abc_tvm.schedules.window import (
    finish_tile_stage,
    parallel_tiles,
    schedule_tile_stage,
    split_planes,
    unroll_taps,
)


def schedule_nibbles(func: Any, tile: Tile, *, cores: int = 4, choice: Choice | None = None) -> Any:
    """Schedule a fused convolution on :func:`abc_tvm.compute.nibbles.nibble_counts`.

    Returns a PrimFunc. ``choice``: as in :func:`abc_tvm.schedules.window.schedule_window`, but
    ``taps``, which bytes decide here.
    """
    plan = choice or Choice(tile)
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    wide, narrow = sch.get_sblock("wide_acc"), sch.get_sblock("byte_acc")
    b, h, w, g, o, *planes, lane, kh0, kw0, n0 = sch.get_loops(wide)
    scratch = 4 * prod([tile.rows, tile.columns, tile.blocks])
    scratch *= prod(blocks.extent(sch, loop) or 1 for loop in (*planes, lane))
    h0, h1 = sch.split(h, [None, tile.rows])
    w0, w1 = sch.split(w, [None, tile.columns])
    o0, o1 = sch.split(o, [None, tile.blocks])
    rows = [o0, h0] if plan.order == "weights" else [h0, o0]
    around, inside = split_planes(planes, tile)
    sch.reorder(b, g, *rows, w0, *around, kh0, kw0, n0, h1, w1, o1, *inside, lane)
    epilogue = [n for n in order[order.index("acc") :] if not n.startswith("crop_")]
    for name in epilogue:
        sch.reverse_compute_at(sch.get_sblock(name), w0, preserve_unit_loops=True)
    sch.compute_at(narrow, n0, preserve_unit_loops=True)
    outside = len(sch.get_loops(wide)) - len([h1, w1, o1, *inside, lane])
    *tile_loops, narrow_lane, kh1, kw1, n1 = sch.get_loops(narrow)[outside:]
    sch.reorder(kh1, kw1, n1, *tile_loops, narrow_lane)
    blocks.unroll(sch, [*tile_loops, h1, w1, o1, *inside])
    sch.vectorize(lane)
    for name in epilogue:
        schedule_tile_stage(sch, name)
    outer = parallel_tiles(sch, [b, g, *rows], w0, plan, cores, scratch) + len(around)
    unroll_taps(sch, narrow, plan.unroll, len([*tile_loops, narrow_lane]))
    clear = sch.decompose_reduction(narrow, kh1)
    _clear(sch, clear, outer + 3)
    _clear(sch, sch.decompose_reduction(wide, kh0), outer)
    for name in epilogue:
        finish_tile_stage(sch, name, outer - len(around))
    _schedule_codes(sch)
    schedule_rest(sch, [n for n in order if n == "pad" or n.startswith("crop_")])
    return lower_lanes(sch.mod["main"])


def _clear(sch: s_tir.Schedule, block: Any, outer: int) -> None:
    *loops, lane = sch.get_loops(block)[outer:]
    if sch.get(lane).kind == 0:
        sch.vectorize(lane)
    blocks.unroll(sch, loops)


def _schedule_codes(sch: s_tir.Schedule) -> None:
    *_, nibble = sch.get_loops(sch.get_sblock("codes"))
    _, lanes = sch.split(nibble, [None, NIBBLES])
    sch.vectorize(lanes)
