"""The loop nest of bit convolutions on 32-bit NEON.

::

    for m, p, part:                         # one pair of planes, some registers of lanes
        for kh0, kw0, c0:                   # as much as a byte can sum
            for kh1, kw1, c1:
                for register, h1, w1:       # unrolled: byte sums stay in registers
                    16 bytes: sum += cnt(activation word, spread ^ weights)
            for register, h1, w1: 32-bit sums += byte sums

Weights pass through a register or two while the activations of the tile stay: there are only
sixteen registers.
"""

from __future__ import annotations

import numpy as np
from tvm import s_tir, te, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import WORDS, byte_counts, pack_bytes
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.nest import MOST, Nest
from abc_tvm.schedules.processor.skeleton import Skeleton

from .instructions32 import TABLE
from .tiles import fits_few, ranked_bits


class Bits32(Nest):
    """Differing bits, counted in the bytes of sixteen registers."""

    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        return tuple(ranked_bits(fits_few, problem)[:MOST])

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        return byte_counts(data, table(pack_bytes(weights), "plane"), window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_bits(func, plan.choice, cores=plan.machine.cores)


def schedule_bits(func: tirx.PrimFunc, choice: Choice, *, cores: int = 4) -> tirx.PrimFunc:
    """Schedule a fused convolution on :func:`abc_tvm.compute.byte_sums.byte_counts`.

    Of ``choice`` tile, order and cut matter.
    """
    nest = Skeleton(func, choice, cores, several=False)
    sch = nest.sch
    part, register, lane = sch.split(nest.lane, [choice.tile.parts, None, WORDS])
    nest.order([*nest.planes, part, *nest.taps, register, *nest.tile, lane])
    blocks.unroll(sch, [register, *nest.tile])
    partial = blocks.only(sch, "partial")
    _partial_sums(sch, partial, nest.taps[-1])
    nest.around()
    _clear(sch, sch.decompose_reduction(partial, sch.get_loops(partial)[-6]))
    _clear(sch, sch.decompose_reduction(nest.block, nest.taps[0]))
    return nest.finish(TABLE)


def _partial_sums(sch: s_tir.Schedule, partial: SBlockRV, innermost: LoopRV) -> None:
    """Compute the byte sums of the tile under ``innermost``, the last loop over parts of bytes.

    The last six loops are then those over what one byte sums, two, and over the tile's registers.
    """
    sch.compute_at(partial, innermost, preserve_unit_loops=True)
    b, h, w, g, o, m, p, y, x, z, r, i, kh, kw, c = sch.get_loops(partial)[-15:]
    sch.reorder(b, g, o, m, p, y, x, z, kh, kw, c, r, h, w, i)
    blocks.unroll(sch, [r, h, w])
    sch.fuse(kw, c)


def _clear(sch: s_tir.Schedule, block: SBlockRV) -> None:
    """Unroll the zeroing of a tile, one register a store."""
    *_, register, h, w, lane = sch.get_loops(block)
    sch.vectorize(lane)
    blocks.unroll(sch, [register, h, w])
