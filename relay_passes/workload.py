"""What tuning knows a fused kernel by: its computation alone, whatever schedule it gets.

Two layers are one workload where their plain PrimFuncs are equal: constants are arguments, so
the values of weights do not matter, and a symbolic batch counts as 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.chosen import Layer, PlainKernels, chosen_kernels
from abc_tvm.schedules.kernels import Kernels
from abc_tvm.targets import Device

from .kernel import KernelBuilder, Lowered
from .pools import POOLS, pool_of
from .rewrite import op_name

BATCH = 1


@dataclass
class Workload:
    """A kernel to tune: a private function as :func:`build` takes it, and its plain form."""

    function: Any
    layer: Layer
    plain: Lowered

    @property
    def func(self) -> Any:
        """The PrimFunc without a schedule."""
        return self.plain.func

    def lowered(self, device: Device, choice: Choice) -> Lowered:
        """The kernel as ``choice`` says."""
        return build(self.function, chosen_kernels(device, choice), BATCH)


def build(function: Any, kernels: Kernels, batch: int | None = None) -> Lowered:
    """The kernel of a private function made by :mod:`.fuse` or :func:`.pools.alone`.

    ``batch`` stands in for a symbolic one.
    """
    pool = pool_of(function)
    if pool is None:
        return KernelBuilder(function, kernels, batch).build()
    return POOLS[str(op_name(pool))](pool, kernels, batch)


def workload_of(function: Any, device: Device) -> Workload | None:
    """The workload of such a function; ``None``: nothing to tune."""
    kernels = PlainKernels(device)
    plain = build(function, kernels, BATCH)
    return None if kernels.layer is None else Workload(function, kernels.layer, plain)
