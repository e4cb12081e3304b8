"""The loop nest of bit convolutions on 32-bit NEON.

::

    for b, g, o, h0 (parallel), w0:             # o and h0 in either order
        for m, p, part:                         # one pair of planes, some registers of lanes
            for kh0, kw0, c0:                   # as much as a byte can sum
                for kh1, kw1, c1:
                    for register, h1, w1:       # unrolled: byte sums stay in registers
                        16 bytes: sum += cnt(activation word, spread ^ weights)
                for register, h1, w1: 32-bit sums += byte sums
        epilogue of the tile

Weights pass through a register or two while the activations of the tile stay: there are only
sixteen registers.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from tvm import s_tir, te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import WORDS, byte_counts, pack_bytes
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import Machine
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.intrinsics import lower_lanes
from abc_tvm.schedules.processor.nest import MOST, Nest
from abc_tvm.schedules.processor.spatial import schedule_rest
from abc_tvm.schedules.processor.window import (
    finish_tile_stage,
    parallel_tiles,
    schedule_tile_stage,
)

from .instructions32 import TABLE
from .tiles import fits_few, ranked_bits


class Bits32(Nest):
    """See the module's text."""

    def tiles(self, machine: Machine, problem: Problem) -> tuple[Tile, ...]:
        return tuple(ranked_bits(fits_few, problem)[:MOST])

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        return byte_counts(data, table(pack_bytes(weights), "plane"), window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: Any) -> Any:
        return schedule_bits(func, plan.choice, cores=plan.machine.cores)


def schedule_bits(func: Any, choice: Choice, *, cores: int = 4) -> Any:
    """Schedule a fused convolution on :func:`abc_tvm.compute.byte_sums.byte_counts`.

    ``cores`` only sets how finely the parallel loop is cut. Of ``choice`` tile, order and cut
    matter. Returns a PrimFunc.
    """
    tile = choice.tile
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    acc = sch.get_sblock("acc")
    b, h, w, g, o, m, p, lane, *taps = sch.get_loops(acc)
    scratch = 4 * prod([tile.rows, tile.columns])
    scratch *= prod(blocks.extent(sch, loop) or 1 for loop in (m, p, lane))
    h0, h1 = sch.split(h, [None, tile.rows])
    w0, w1 = sch.split(w, [None, tile.columns])
    part, register, lane = sch.split(lane, [tile.parts, None, WORDS])
    rows = [o, h0] if choice.order == "weights" else [h0, o]
    sch.reorder(b, g, *rows, w0, m, p, part, *taps, register, h1, w1, lane)
    epilogue = [n for n in order[order.index("acc") + 1 :] if not n.startswith("crop_")]
    for name in epilogue:
        sch.reverse_compute_at(sch.get_sblock(name), w0, preserve_unit_loops=True)
    blocks.unroll(sch, [register, h1, w1])
    _byte_sums(sch, taps[-1])
    for name in epilogue:
        schedule_tile_stage(sch, name)
    outer = parallel_tiles(sch, [b, g, *rows], w0, choice, cores, scratch)
    _clear(sch, sch.decompose_reduction(sch.get_sblock("byte_acc"), _byte_taps(sch)))
    _clear(sch, sch.decompose_reduction(acc, taps[0]))
    for name in epilogue:
        finish_tile_stage(sch, name, outer)
    schedule_rest(sch, [n for n in order if n == "pad" or n.startswith("crop_")])
    return lower_lanes(sch.mod["main"], TABLE)


def _byte_sums(sch: s_tir.Schedule, innermost: Any) -> None:
    """Compute the byte sums of the tile under ``innermost``, the last loop over parts of bytes."""
    narrow = sch.get_sblock("byte_acc")
    sch.compute_at(narrow, innermost, preserve_unit_loops=True)
    b, h, w, g, o, m, p, y, x, z, r, i, kh, kw, c = sch.get_loops(narrow)[-15:]
    sch.reorder(b, g, o, m, p, y, x, z, kh, kw, c, r, h, w, i)
    blocks.unroll(sch, [r, h, w])
    sch.fuse(kw, c)


def _byte_taps(sch: s_tir.Schedule) -> Any:
    """The outermost loop over what one byte sums."""
    return sch.get_loops(sch.get_sblock("byte_acc"))[-6]


def _clear(sch: s_tir.Schedule, block: Any) -> None:
    """Unroll the zeroing of a tile, one register a store."""
    *_, register, h, w, lane = sch.get_loops(block)
    sch.vectorize(lane)
    blocks.unroll(sch, [register, h, w])
