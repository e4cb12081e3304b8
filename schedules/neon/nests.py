"""Convolutions on AArch64, in the nest of :mod:`.steps`: bits, floats and bytes."""

from __future__ import annotations

import numpy as np
from tvm import te, tirx

from abc_tvm.compute import float_steps, int8_products
from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import pack_steps, step_counts
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.processor.nest import MOST, Nest

from .steps import schedule_steps
from .tiles import fits_steps, ranked_bits, ranked_dots, ranked_floats


class StepBits(Nest):
    """Differing bits, summed in bytes or (with ``dot``) by ``udot``."""

    def __init__(self, *, dot: bool) -> None:
        self.dot = dot

    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        return tuple(ranked_bits(fits_steps(self.dot), problem)[:MOST])

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        steps = table(pack_steps(weights, plan.tile), "plane")
        return step_counts(data, steps, weights.shape[4], window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_steps(func, plan.choice, plan.machine, dot=self.dot)


class StepFloats(Nest):
    """Products of floats by ``fmla``."""

    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        window, blocking = problem.window, problem.blocking
        return tuple(ranked_floats(window, blocking, in_order=machine.in_order)[:MOST])

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        steps = table(float_steps.pack_steps(weights, plan.tile), "weight")
        return float_steps.step_products(data, steps, window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_steps(func, plan.choice, plan.machine)


class StepInt8(Nest):
    """Products of bytes by ``sdot``."""

    def tiles(self, machine: MachineFacts, problem: Problem) -> tuple[Tile, ...]:
        window, blocking = problem.window, problem.blocking
        return tuple(ranked_dots(window, blocking, in_order=machine.in_order)[:MOST])

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        packed = int8_products.pack_quads(weights, blocking)
        steps = table(int8_products.pack_steps(packed, plan.tile), "weight")
        return int8_products.step_int8_products(data, steps, window, blocking, plan.tile, zero)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_steps(func, plan.choice, plan.machine)
