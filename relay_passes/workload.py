"""What tuning knows a fused kernel by: its computation alone, whatever schedule it gets.

Two layers are one workload where their plain PrimFuncs are equal: constants are arguments, so
the values of weights do not matter, and a symbolic batch counts as 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import relax, tirx

from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.emit.kernel import kernel
from abc_tvm.relay_passes.lowerings.table import anchors, between, encodings
from abc_tvm.relay_passes.rewrite import bindings, op_name
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.plain import PLAIN
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import Device

BATCH = 1


@dataclass
class Workload:
    """A kernel to tune: a private function as :func:`build` takes it, and its plain form."""

    function: relax.Function
    plain: Lowered

    @property
    def problem(self) -> Problem:
        """What the kernel computes in its lanes."""
        return self.plain.plan.problem

    @property
    def func(self) -> tirx.PrimFunc:
        """The PrimFunc without a schedule."""
        return self.plain.func

    def lowered(self, device: Device, choice: Choice) -> Lowered:
        """The kernel as ``choice`` says."""
        return build(self.function, scheduler_of(device, choice), BATCH)


def build(function: relax.Function, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of a private function made by :mod:`.fuse` or :func:`.pooling.alone`.

    ``batch`` stands in for a symbolic one.
    """
    _, call = bindings(function)[0]
    pooling = between().get(op_name(call) or "")
    if pooling is not None:
        return pooling.kernel(call, scheduler, batch)
    return kernel(function, scheduler, anchors(), encodings(), batch)


def workload_of(function: relax.Function, device: Device) -> Workload | None:
    """The workload of such a function; ``None``: nothing to tune."""
    plain = build(function, Scheduler(PLAIN, device), BATCH)
    return Workload(function, plain) if plain.anchored else None
