"""The loop nest of the lookup kernels, for AVX2 and AVX-512 without a vector popcount.

::

    for m, p (those of Tile.planes):
        for kh0, kw0, n0:                    # as much as a byte can sum
            for kh1, kw1, n1:
                for h1, w1, o1, m, p:        # unrolled: byte sums stay in registers
                    all lanes: sum += shuffle(row of the activation nibble, weight nibbles)
            for h1, w1, o1, m, p: wide sums += byte sums
"""

from __future__ import annotations

import numpy as np
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import SBlockRV

from abc_tvm.compute.geometry import words
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.nibbles import NIBBLES, lookup_table, nibble_counts, pack_nibbles
from abc_tvm.compute.roles import Role
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.intrinsics import INSTRUCTIONS, Instruction
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.skeleton import Skeleton
from abc_tvm.schedules.processor.tiles import Room, Way
from abc_tvm.schedules.processor.window import split_planes, unroll_taps

from .shuffle import lookup

TABLE: dict[Role, Instruction] = {**INSTRUCTIONS, "partial": lookup}


class Nibbles(Ruled):
    """Differing bits by table lookup: :mod:`abc_tvm.compute.nibbles`."""

    way = Way(cycles=0.8, latency=2, activation=2, store=2)
    lane = 1

    def steps(self, problem: Problem) -> int:
        return problem.window.taps * words(problem.window.group_in) * NIBBLES

    def room(self, machine: MachineFacts, blocking: Blocking) -> Room:
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

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_nibbles(func, plan.choice, cores=plan.machine.cores)


def schedule_nibbles(func: tirx.PrimFunc, choice: Choice, *, cores: int = 4) -> tirx.PrimFunc:
    """Schedule a fused convolution on :func:`abc_tvm.compute.nibbles.nibble_counts`.

    As :func:`abc_tvm.schedules.processor.window.schedule_window`, but for ``taps``, which bytes
    decide here.
    """
    nest = Skeleton(func, choice, cores, reduction="total")
    sch, partial = nest.sch, blocks.only(nest.sch, "partial")
    kh0, kw0, n0 = nest.taps
    around, inside = split_planes(nest.planes, choice.tile)
    held = [*nest.tile, *inside]
    nest.order([*around, kh0, kw0, n0, *held, nest.lane])
    sch.compute_at(partial, n0, preserve_unit_loops=True)
    outside = len(sch.get_loops(nest.block)) - len([*held, nest.lane])
    *tile_loops, partial_lane, kh1, kw1, n1 = sch.get_loops(partial)[outside:]
    sch.reorder(kh1, kw1, n1, *tile_loops, partial_lane)
    blocks.unroll(sch, [*tile_loops, *held])
    sch.vectorize(nest.lane)
    reduction = nest.around() + len(around)
    unroll_taps(sch, partial, choice.unroll, len([*tile_loops, partial_lane]))
    _clear(sch, sch.decompose_reduction(partial, kh1), reduction + 3)
    _clear(sch, sch.decompose_reduction(nest.block, kh0), reduction)
    _vectorise_rows(sch, blocks.only(sch, "rows"))
    return nest.finish(TABLE)


def _clear(sch: s_tir.Schedule, block: SBlockRV, outer: int) -> None:
    *loops, lane = sch.get_loops(block)[outer:]
    if sch.get(lane).kind == 0:
        sch.vectorize(lane)
    blocks.unroll(sch, loops)


def _vectorise_rows(sch: s_tir.Schedule, rows: SBlockRV) -> None:
    *_, nibble = sch.get_loops(rows)
    _, lanes = sch.split(nibble, [None, NIBBLES])
    sch.vectorize(lanes)
