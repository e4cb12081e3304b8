"""Kernels other than the default ones: as a tuning record chooses, or without any schedule.

Both stand in for :class:`abc_tvm.schedules.kernels.Kernels` while one kernel is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from tvm import s_tir, te

from abc_tvm.compute import accumulate
from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.nibbles import lookup_table, nibble_counts, pack_nibbles
from abc_tvm.targets import Device

from . import blocks
from .choice import Choice
from .kernels import Kernels, Table
from .window import schedule_window
from .x86.nibbles import schedule_nibbles


@dataclass
class Layer:
    """The convolution inside a kernel."""

    window: Window
    blocking: Blocking
    pairs: int
    kind: Literal["bits", "float"]


class PlainKernels(Kernels):
    """No tile and no schedule: what a kernel computes, the same for every choice.

    ``layer`` is the convolution of the kernel that was built last, ``None`` for kernels without
    one, which have nothing to tune.
    """

    layer: Layer | None = None

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Literal["bits", "float"]
    ) -> Tile:
        self.layer = Layer(window, blocking, pairs, kind)
        return Tile()

    def counts(
        self,
        bits: te.Tensor,
        planes: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        return accumulate.popcounts(bits, table(planes, "plane"), window, blocking, tile)

    def window(self, func: Any, tile: Tile) -> Any:
        if "acc" not in blocks.names(s_tir.Schedule(func)):  # nothing depends on the convolution
            self.layer = None
        return func

    def lanes(self, func: Any) -> Any:
        return func


class ChosenKernels(Kernels):
    """One kernel as ``choice`` says."""

    def __init__(self, device: Device, choice: Choice) -> None:
        super().__init__(device)
        self.choice = choice

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Literal["bits", "float"]
    ) -> Tile:
        return self.choice.tile

    def counts(
        self,
        bits: te.Tensor,
        planes: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        if self.choice.count == "nibble":
            nibbles = table(pack_nibbles(planes), "nibble")
            lookup = table(lookup_table(), "lookup")
            return nibble_counts(bits, nibbles, lookup, window, blocking, tile)
        return accumulate.popcounts(bits, table(planes, "plane"), window, blocking, tile)

    def window(self, func: Any, tile: Tile) -> Any:
        sch = s_tir.Schedule(func)
        if "split" in blocks.names(sch):
            sch.compute_inline(sch.get_sblock("split"))
            func = sch.mod["main"]
        schedule = schedule_nibbles if "byte_acc" in blocks.names(sch) else schedule_window
        return schedule(func, tile, cores=self.device.cores, choice=self.choice)


def chosen_kernels(device: Device, choice: Choice) -> Kernels:
    """The kernels of ``device`` with one kernel as ``choice`` says."""
    from .cuda.kernels import CudaKernels
    from .cuda.space import CudaChoice

    if isinstance(choice, CudaChoice):
        return CudaKernels(device, choice.block)
    return ChosenKernels(device, choice)
