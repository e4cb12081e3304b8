"""What tuning knows a fused kernel by: its computation alone, whatever schedule it gets.

Two layers are one workload where their plain PrimFuncs are equal: constants are arguments, so
the values of weights do not matter, and a symbolic batch counts as 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.chosen import Layer, PlainKernels, chosen_kernels
from abc_tvm.targets import Device

from .kernel import KernelBuilder, Lowered

BATCH = 1


@dataclass
class Workload:
    """A kernel to tune: the function made by :mod:`.fuse`, and its plain form."""

    function: Any
    layer: Layer
    plain: Lowered

    @property
    def func(self) -> Any:
        """The PrimFunc without a schedule."""
        return self.plain.func

    def lowered(self, device: Device, choice: Choice) -> Lowered:
        """The kernel as ``choice`` says."""
        return KernelBuilder(self.function, chosen_kernels(device, choice), BATCH).build()


def workload_of(function: Any, device: Device) -> Workload | None:
    """The workload of a private function made by :mod:`.fuse`; ``None``: nothing to tune."""
    kernels = PlainKernels(device)
    plain = KernelBuilder(function, kernels, BATCH).build()
    return None if kernels.layer is None else Workload(function, kernels.layer, plain)
