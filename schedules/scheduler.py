"""What makes one kernel, or all kernels of a network: a family, a machine, and perhaps a choice."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking

from .choice import Choice
from .families import family_of
from .family import Family, Plan
from .machine import MachineFacts
from .problem import Kind, Problem
from .statements import without_roles


@dataclass(frozen=True)
class Scheduler:
    """Plans kernels: as ``choice`` says, by default as the family does."""

    family: Family
    machine: MachineFacts
    choice: Choice | None = None

    def plan(
        self, window: Window, blocking: Blocking, pairs: int, kind: Kind, bases: int = 1
    ) -> Plan:
        """The plan of a kernel; arguments as in :class:`.problem.Problem`."""
        problem = Problem(window, blocking, pairs, kind, bases)
        choice = self.choice or self.family.default(self.machine, problem)
        return Plan(self.machine, problem, choice)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        """A kernel as its plan says; its blocks have no roles any more."""
        return without_roles(self.family.schedule(plan, func))


def scheduler_of(machine: MachineFacts, choice: Choice | None = None) -> Scheduler:
    """The scheduler of a machine's own family."""
    return Scheduler(family_of(machine), machine, choice)
