"""What a kernel begins with, what it makes of steps, and kernels of pooling between two layers.

The tables of these, which fusing and building read, are in :mod:`.lowerings.table`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import relax

from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.scheduler import Scheduler

from .frame import Frame, Lowered, Produced


@dataclass(frozen=True)
class Anchor:
    """An operator that a kernel begins with.

    ``begin`` gives the frame its image and its first value and returns the plan of the kernel.
    ``fits``: whether a call of the operator can begin one. ``groups``: in how many groups the
    channels of its result lie in slots, ``None`` where any number will do.
    """

    operator: str
    begin: Callable[[Frame, relax.Var, relax.Call], Plan]
    fits: Callable[[relax.Call], bool]
    groups: Callable[[relax.Call], int | None]


@dataclass(frozen=True)
class Encoding:
    """An operator that writes the index of a step function as a lowering reads it.

    ``write`` adds the result to the kernel that computes what the step compares.
    """

    operator: str
    write: Callable[[Frame, relax.Call], Produced]


@dataclass(frozen=True)
class Pooling:
    """An operator that pools what an encoding has written: a kernel of its own.

    ``kernel(call, scheduler, batch)``; ``batch`` stands in for a symbolic one.
    """

    operator: str
    kernel: Callable[[relax.Call, Scheduler, int | None], Lowered]
