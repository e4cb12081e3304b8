"""Which schedule serves which kernel on a device: the one door into this package."""

from __future__ import annotations

from collections.abc import Callable
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
from .generic import schedule_any
from .lanes import schedule_lanes
from .tiles import choose_tile
from .window import schedule_window
from .x86 import family
from .x86.nibbles import schedule_nibbles

Table = Callable[[np.ndarray, str], te.Tensor]
"""Registers a constant of a kernel and gives its placeholder."""


class Kernels:
    """Kernels of one device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Literal["bits", "float"]
    ) -> Tile:
        """Register tile of a convolution; ``pairs`` planes, ``kind`` "bits" or "float"."""
        return choose_tile(self.device, window, blocking, pairs, kind=kind)

    def counts(
        self,
        bits: te.Tensor,
        planes: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        """Differing bits of every pair of planes: see ``compute.accumulate.popcounts``."""
        if family(self.device) == "nibble":
            nibbles = table(pack_nibbles(planes), "nibble")
            lookup = table(lookup_table(), "lookup")
            return nibble_counts(bits, nibbles, lookup, window, blocking, tile)
        return accumulate.popcounts(bits, table(planes, "plane"), window, blocking, tile)

    def window(self, func: Any, tile: Tile) -> Any:
        """Schedule a fused convolution."""
        sch = s_tir.Schedule(func)
        if "acc" not in blocks.names(sch):  # nothing depends on the convolution
            return schedule_any(func)
        if "split" in blocks.names(sch):
            sch.compute_inline(sch.get_sblock("split"))
            func = sch.mod["main"]
        if "byte_acc" in blocks.names(sch):
            return schedule_nibbles(func, tile, cores=self.device.cores)
        return schedule_window(func, tile, cores=self.device.cores)

    def lanes(self, func: Any) -> Any:
        """Schedule a fused kernel without a reduction."""
        if "acc" not in blocks.names(s_tir.Schedule(func)):  # the result is constant
            return schedule_any(func)
        return schedule_lanes(func)

    def rest(self, func: Any) -> Any:
        """Schedule any other kernel: parallel outside, vectors inside."""
        return schedule_any(func)
