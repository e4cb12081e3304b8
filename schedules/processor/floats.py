"""Float convolutions by vector multiply-adds, in the nest of :mod:`.window`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.accumulate import products
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import Problem

from .ruled import Ruled
from .tiles import Room, Way, words_room
from .window import schedule_window


class Floats(Ruled):
    """Products of floats, a vector of channels at once."""

    way = Way(cycles=0.5, latency=4, activation=1, store=2)

    def steps(self, problem: Problem) -> int:
        return problem.window.taps * problem.window.group_in

    def room(self, machine: MachineFacts, blocking: Blocking) -> Room:
        room = words_room(machine, blocking)
        if machine.vector_registers > 16:
            return room
        # Activations pass through one register, as a factor of all products of their pixel.
        return replace(room, limit=machine.vector_registers - 1, activation=0)

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int
    ) -> te.Tensor:
        window, blocking = plan.problem.window, plan.problem.blocking
        return products(data, table(weights, "weight"), window, blocking, plan.tile)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_window(func, plan.choice, cores=plan.machine.cores)
