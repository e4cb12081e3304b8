"""Bits counted by the processor's popcount, of vectors where it has one, in the common nest."""

from __future__ import annotations

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.accumulate import popcounts
from abc_tvm.compute.geometry import words
from abc_tvm.schedules.choice import Order
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.tiles import Way
from abc_tvm.schedules.processor.window import schedule_window

FEW_PAIRS = 512
"""Binary products of one output below which writing the outputs takes longer than making them."""

QUICK_REGISTERS = 2
"""Registers of a lane block up to which bits are counted as quickly as that."""

FAR_BLOCKS = 8
"""Lane blocks from which on a block's outputs of two pixels lie a kilobyte and more apart."""


class Popcounts(Ruled):
    """Differing bits, 32 at once and lane by lane, by the processor's own popcount."""

    way = Way(cycles=1.5, latency=9, activation=1, store=6)

    def steps(self, problem: Problem) -> int:
        return problem.window.taps * words(problem.window.group_in)

    def order(self, machine: MachineFacts, problem: Problem) -> Order:
        """A block of weights first, or rows of pixels.

        A block of weights that stays while all pixels pass writes its part of each pixel far from
        the last one. Rows of pixels outside write whole pixels, and read the weights again for each
        row. That pays where an output is made quickly (1x1 convolutions to many channels, counted
        by AVX-512), and the weights come from the second cache at worst: in ABC ResNet-50 (1, 1)
        0.98 to 1.22 times on AMD Zen 5 (``benchmarks/tuning.py order``), and most of what tuning
        chose on Intel Emerald Rapids.
        """
        work = self.estimate(machine, problem)
        window, blocks = problem.window, problem.blocking.blocks
        products = window.taps * window.group_in * problem.pairs
        weights = blocks * work.steps * problem.bases * problem.blocking.lanes * 4
        pays = (
            work.room.per_block <= QUICK_REGISTERS
            and window.groups == 1
            and window.out_height > 1
            and blocks >= FAR_BLOCKS
            and products <= FEW_PAIRS
            and weights <= work.caches[1] // 2
        )
        return "pixels" if pays else "weights"

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        return popcounts(data, table(weights, "plane"), window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_window(func, plan.choice, cores=plan.machine.cores)
