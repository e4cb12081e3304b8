"""Kernels other than the default ones: as a tuning record chooses, or without any schedule.

Both stand in for :class:`abc_tvm.schedules.kernels.Kernels` while one kernel is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import s_tir, te

from abc_tvm.compute import accumulate, byte_products
from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.nibbles import lookup_table, nibble_counts, pack_nibbles
from abc_tvm.targets import Device

from . import blocks, neon
from .choice import Choice
from .kernels import Kernels, Table
from .tiles import Kind
from .window import schedule_window
from .x86.dot import instruction
from .x86.nibbles import schedule_nibbles


@dataclass
class Layer:
    """The convolution inside a kernel."""

    window: Window
    blocking: Blocking
    pairs: int
    kind: Kind


class PlainKernels(Kernels):
    """No tile and no schedule: what a kernel computes, the same for every choice.

    ``layer`` is the convolution of the kernel that was built last, ``None`` for kernels without
    one, which have nothing to tune.
    """

    layer: Layer | None = None

    def tile(self, window: Window, blocking: Blocking, pairs: int, kind: Kind) -> Tile:
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

    def dots(
        self,
        codes: te.Tensor,
        weights: np.ndarray,
        zero: int,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        quads = table(byte_products.pack_quads(weights, blocking), "weight")
        return byte_products.byte_products(codes, quads, window, blocking, tile, zero)

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

    def tile(self, window: Window, blocking: Blocking, pairs: int, kind: Kind) -> Tile:
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
        if neon.family(self.device) is not None:
            return super().counts(bits, planes, window, blocking, tile, table)
        if self.choice.count == "nibble":
            nibbles = table(pack_nibbles(planes), "nibble")
            lookup = table(lookup_table(), "lookup")
            return nibble_counts(bits, nibbles, lookup, window, blocking, tile)
        return accumulate.popcounts(bits, table(planes, "plane"), window, blocking, tile)

    def window(self, func: Any, tile: Tile) -> Any:
        if neon.family(self.device) is not None:
            return super().window(func, tile)
        sch = s_tir.Schedule(func)
        if "split" in blocks.names(sch):
            sch.compute_inline(sch.get_sblock("split"))
            func = sch.mod["main"]
        cores = self.device.cores
        if "byte_acc" in blocks.names(sch):
            return schedule_nibbles(func, tile, cores=cores, choice=self.choice)
        dot = instruction(self.device)
        return schedule_window(func, tile, cores=cores, choice=self.choice, dot=dot)
