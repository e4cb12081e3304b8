"""Kernels without tile and schedule: what a kernel computes, the same for every machine.

Tuning knows a kernel by this form.
"""

from __future__ import annotations

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.accumulate import popcounts, products
from abc_tvm.compute.int8_products import int8_products, pack_quads

from .choice import Choice
from .family import Family, Plan, Table
from .machine import MachineFacts
from .problem import Problem


class Plain(Family):
    """The family of plain loops, which no device names."""

    def default(self, machine: MachineFacts, problem: Problem) -> Choice:
        return Choice()

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int = 0
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        if plan.problem.kind == "bitserial":
            return popcounts(data, table(weights, "plane"), window, blocking, plan.tile)
        if plan.problem.kind == "int8":
            quads = table(pack_quads(weights, blocking), "weight")
            return int8_products(data, quads, window, blocking, plan.tile, zero)
        return products(data, table(weights, "weight"), window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return func

    def rest(self, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return func


PLAIN = Plain()
