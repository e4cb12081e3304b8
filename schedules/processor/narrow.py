"""The loop nest of narrow groups on bytes, where every lane has its own input and weights.

::

    border, spread: rows in parallel
    for b, h0 (parallel), o, w0:
        for kh, kw, c:                       # unrolled up to MOST_STEPS of them, kh outermost
            for h1, w1 (unrolled): lane (vector): acc += codes * weights
        epilogue of the tile

Columns of a tile read the same codes at neighbouring taps: LLVM loads and widens each once a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from tvm import s_tir, te, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.narrow_products import SPREAD
from abc_tvm.compute.roles import Role
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Knob, Order
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem

from .intrinsics import INSTRUCTIONS, Instruction
from .nest import Nest
from .skeleton import Skeleton

MOST_STEPS = 64
"""Steps of a tile that are written out; beyond them rows of the kernel are a loop."""

TILES = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 2), (2, 4))
"""Rows and columns. Those of the default are in one row."""

SHARE = 4
"""The part of the registers that the default leaves to sums is one in so many."""


class NarrowProducts(Nest):
    """Sums of :mod:`abc_tvm.compute.narrow_products`. ``instructions``: those of the family."""

    knobs: ClassVar[Mapping[str, tuple[Knob, ...]]] = {}

    def __init__(self, instructions: Mapping[Role, Instruction] = INSTRUCTIONS) -> None:
        # Sums of one lane are no instruction of theirs.
        self.instructions: dict[Role, Instruction] = dict(instructions)
        self.instructions.pop("sums", None)

    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        """The default takes least of the arithmetic and of the loads that its columns share."""
        window = problem.window
        fits = [
            Tile(rows, columns)
            for rows, columns in TILES
            if rows <= window.out_height and columns <= window.out_width
        ]
        each = -(-problem.blocking.lanes * 16 // machine.vector_bits)
        room = max(machine.vector_registers // (SHARE * each), 1)

        def cost(tile: Tile) -> float:
            (_, kw), (_, stride) = window.kernel, window.stride
            read = min(tile.columns * kw, kw + (tile.columns - 1) * stride)
            return tile.padded(window)[1] * (2 + read / (tile.columns * kw))

        best = min((t for t in fits if t.rows == 1 and t.columns <= room), key=cost)
        return (best, *(tile for tile in fits if tile != best))

    def order(self, machine: MachineFacts, problem: Problem) -> Order:
        """All blocks of a row, whose codes lie side by side."""
        return "pixels"

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        raise TypeError("sums of narrow groups are those of narrow_products, for every family")

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        spread = _Spread.of(func)
        nest = Skeleton(func, plan.choice, plan.machine.cores)
        sch = nest.sch
        kh, kw, c = nest.taps
        nest.order([kh, kw, c, *nest.tile, nest.lane])
        sch.vectorize(nest.lane)
        blocks.unroll(sch, nest.tile)
        steps = [blocks.extent(sch, loop) or 1 for loop in (kh, kw, c)]
        if steps[1] * steps[2] <= MOST_STEPS:
            blocks.unroll(sch, [kw, c])
        if steps[0] * steps[1] * steps[2] <= MOST_STEPS:
            blocks.unroll(sch, [kh])
        outer = nest.around()
        init = sch.decompose_reduction(nest.block, sch.get_loops(nest.block)[outer])
        *cleared, _ = sch.get_loops(init)[outer:]
        blocks.unroll(sch, cleared)
        spread.unroll(sch)
        return nest.finish(self.instructions)


class _Spread:
    """The block that repeats channels: its loop over lanes becomes one over groups."""

    def __init__(self, each: int) -> None:
        self.each = each

    @classmethod
    def of(cls, func: tirx.PrimFunc) -> _Spread:
        """``each`` 1: there is no such block."""
        for block in blocks.in_order(func.body.block.body):
            if SPREAD in block.annotations:
                return cls(int(block.annotations[SPREAD]))
        return cls(1)

    def unroll(self, sch: s_tir.Schedule) -> None:
        if self.each == 1:
            return
        for block in blocks.of_role(sch, "border"):
            lane = sch.get_loops(block)[-1]
            _, inner = sch.split(lane, [None, self.each])
            sch.unroll(inner)
