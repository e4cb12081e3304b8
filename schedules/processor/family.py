"""A family of processors: for each kind of sum one or several nests, and what all share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import s_tir, te, tirx

from abc_tvm.compute.roles import Role
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice, Count
from abc_tvm.schedules.family import CodeType, Family, Plan, Table
from abc_tvm.schedules.generic import schedule_any
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import POOLS, Kind, Problem

from .intrinsics import INSTRUCTIONS, Instruction
from .lanes import schedule_lanes
from .narrow import NarrowProducts
from .nest import Nest
from .pools import default_pool, schedule_pool
from .space import Nests, ProcessorSpace


class Processor(Family):
    """``nests`` of each kind by what a choice calls them, the default first; ``code`` and
    ``narrow`` as in :class:`abc_tvm.schedules.family.Family`.

    ``instructions``: see :func:`.intrinsics.lower_lanes`. ``ruled``: the register rule of
    :mod:`.tiles` says something of the tiles, and the cost model is told what.
    """

    tunable = True
    described = True

    def __init__(
        self,
        nests: Mapping[Kind, Nests],
        code: CodeType | None = None,
        instructions: Mapping[Role, Instruction] = INSTRUCTIONS,
        *,
        narrow: CodeType | None = None,
        ruled: bool = False,
    ) -> None:
        self.nests = dict(nests)
        self.code = code
        self.narrow = narrow
        self.side_by_side = NarrowProducts(instructions)
        self.instructions = instructions
        self.ruled = ruled

    def nest(self, kind: Kind, count: Count | None = None) -> Nest:
        """The nest of a kind that a choice names, by default the first."""
        if kind not in self.nests:
            raise ValueError(f"this family has no sums of {kind}")
        known = dict(self.nests[kind])
        return next((known[name] for name in (count,) if name in known), self.nests[kind][0][1])

    def nest_of(self, problem: Problem, count: Count | None = None) -> Nest:
        """The same, of a kernel."""
        return self.side_by_side if problem.narrow else self.nest(problem.kind, count)

    def default(self, machine: MachineFacts, problem: Problem) -> Choice:
        if problem.kind in POOLS:
            return default_pool(problem)
        if problem.kind == "lanes":
            return Choice()
        nest = self.nest_of(problem)
        count = "popcount" if problem.narrow else self.nests[problem.kind][0][0]
        return Choice(nest.tile(machine, problem), count, order=nest.order(machine, problem))

    def space(self, machine: MachineFacts, problem: Problem, threads: int) -> ProcessorSpace:
        nests = self.nests.get(problem.kind, ())
        if problem.narrow:
            nests = (("popcount", self.side_by_side),)
        default = self.default(machine, problem)
        return ProcessorSpace(machine, problem, threads, default, nests, self.ruled)

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int = 0
    ) -> te.Tensor:
        nest = self.nest_of(plan.problem, plan.choice.count)
        return nest.sums(plan, data, weights, table, zero)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        kind = plan.problem.kind
        if kind in POOLS:
            return schedule_pool(func, plan.choice)
        if not blocks.has(func, "sums"):  # nothing depends on the convolution
            return schedule_any(func)
        if kind == "lanes":
            return schedule_lanes(func, plan.choice, self.instructions)
        if blocks.has(func, "groups"):
            sch = s_tir.Schedule(func)
            sch.compute_inline(blocks.only(sch, "groups"))
            func = sch.mod["main"]
        return self.nest_of(plan.problem, plan.choice.count).schedule(plan, func)

    def rest(self, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_any(func)
