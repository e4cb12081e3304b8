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

import numpy as np
from tvm import s_tir, te

from abc_tvm.compute.geometry import words
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.nibbles import NIBBLES, lookup_table, nibble_counts, pack_nibbles
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import Machine
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.intrinsics import INSTRUCTIONS, lower_lanes
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.spatial import schedule_rest
from abc_tvm.schedules.processor.tiles import Room, Way
from abc_tvm.schedules.processor.window import (
    finish_tile_stage,
    parallel_tiles,
    schedule_tile_stage,
    split_planes,
    unroll_taps,
)

from .shuffle import lookup

TABLE = {**INSTRUCTIONS, "byte_acc_update": lookup}


class Nibbles(Ruled):
    """Differing bits by table lookup: :mod:`abc_tvm.compute.nibbles`."""

    way = Way(cycles=0.8, latency=2, activation=2, store=2)
    lane = 1

    def steps(self, problem: Problem) -> int:
        return problem.window.taps * words(problem.window.group_in) * NIBBLES

    def room(self, machine: Machine, blocking: Blocking) -> Room:
        """Byte sums; rows of the table and weights pass through two or three registers."""
        per_block = -(-blocking.lanes * 8 // 256)
        return Room(per_block, machine.vector_registers * 5 // 8, activation=0)

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        nibbles = table(pack_nibbles(weights), "nibble")
        rows = table(lookup_table(), "lookup")
        return nibble_counts(data, nibbles, rows, window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: Any) -> Any:
        return schedule_nibbles(func, plan.choice, cores=plan.machine.cores)


def schedule_nibbles(func: Any, choice: Choice, *, cores: int = 4) -> Any:
    """Schedule a fused convolution on :func:`abc_tvm.compute.nibbles.nibble_counts`.

    As :func:`abc_tvm.schedules.processor.window.schedule_window`, but for ``taps``, which bytes
    decide here.
    """
    tile = choice.tile
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    wide, narrow = sch.get_sblock("wide_acc"), sch.get_sblock("byte_acc")
    b, h, w, g, o, *planes, lane, kh0, kw0, n0 = sch.get_loops(wide)
    scratch = 4 * prod([tile.rows, tile.columns, tile.blocks])
    scratch *= prod(blocks.extent(sch, loop) or 1 for loop in (*planes, lane))
    h0, h1 = sch.split(h, [None, tile.rows])
    w0, w1 = sch.split(w, [None, tile.columns])
    o0, o1 = sch.split(o, [None, tile.blocks])
    rows = [o0, h0] if choice.order == "weights" else [h0, o0]
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
    outer = parallel_tiles(sch, [b, g, *rows], w0, choice, cores, scratch) + len(around)
    unroll_taps(sch, narrow, choice.unroll, len([*tile_loops, narrow_lane]))
    clear = sch.decompose_reduction(narrow, kh1)
    _clear(sch, clear, outer + 3)
    _clear(sch, sch.decompose_reduction(wide, kh0), outer)
    for name in epilogue:
        finish_tile_stage(sch, name, outer - len(around))
    _schedule_codes(sch)
    schedule_rest(sch, [n for n in order if n == "pad" or n.startswith("crop_")])
    return lower_lanes(sch.mod["main"], TABLE)


def _clear(sch: s_tir.Schedule, block: Any, outer: int) -> None:
    *loops, lane = sch.get_loops(block)[outer:]
    if sch.get(lane).kind == 0:
        sch.vectorize(lane)
    blocks.unroll(sch, loops)


def _schedule_codes(sch: s_tir.Schedule) -> None:
    *_, nibble = sch.get_loops(sch.get_sblock("codes"))
    _, lanes = sch.split(nibble, [None, NIBBLES])
    sch.vectorize(lanes)
