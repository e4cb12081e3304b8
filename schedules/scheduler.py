"""What makes one kernel, or all kernels of a network: a family, a machine, and perhaps a choice."""

from __future__ import annotations

from dataclasses import dataclass

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking

from .choice import Choice
from .families import family_of
from .family import Family, Plan
from .machine import Machine
from .problem import Kind, Problem


@dataclass(frozen=True)
class Scheduler:
    """Plans kernels: as ``choice`` says, by default as the family does."""

    family: Family
    machine: Machine
    choice: Choice | None = None

    def plan(
        self, window: Window, blocking: Blocking, pairs: int, kind: Kind, bases: int = 1
    ) -> Plan:
        """The plan of a kernel; arguments as in :class:`.problem.Problem`."""
        problem = Problem(window, blocking, pairs, kind, bases)
        choice = self.choice or self.family.default(self.machine, problem)
        return Plan(self.machine, problem, choice)


def scheduler_of(machine: Machine, choice: Choice | None = None) -> Scheduler:
    """The scheduler of a machine's own family."""
    return Scheduler(family_of(machine), machine, choice)
