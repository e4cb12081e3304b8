"""Which schedule serves which kernel on a device: the one door into this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import s_tir, te

from abc_tvm.compute import accumulate, byte_products, float_steps
from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import STRIDES, byte_counts, pack_bytes, pack_steps, step_counts
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.nibbles import lookup_table, nibble_counts, pack_nibbles
from abc_tvm.targets import Device

from . import blocks, neon
from .choice import Choice, Order
from .generic import schedule_any
from .intrinsics import INSTRUCTIONS
from .lanes import schedule_lanes
from .neon.bits32 import schedule_bits
from .neon.instructions32 import TABLE
from .neon.steps import Core, schedule_steps
from .neon.tiles import choose_bits, choose_dots, choose_floats
from .pools import default_pool, schedule_pool
from .tiles import Kind, choose_order, choose_tile, work_of
from .window import schedule_window
from .x86 import family
from .x86.dot import instruction
from .x86.nibbles import schedule_nibbles

Table = Callable[[np.ndarray, str], te.Tensor]
"""Registers a constant of a kernel and gives its placeholder."""


class Kernels:
    """Kernels of one device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._order: Order = "weights"

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Kind, bases: int = 1
    ) -> Tile:
        """Register tile of a convolution; ``pairs`` of planes (1 for floats and bytes).

        ``bases`` of the planes are weights'. The :meth:`window` that follows is this convolution's.
        """
        counted = neon.family(self.device)
        self._order = "weights"
        if kind == "bits" and counted is not None:
            return choose_bits(counted, window, blocking, pairs)
        if counted in neon.STEPS:
            choose = choose_dots if kind == "bytes" else choose_floats
            return choose(window, blocking, in_order=self.device.in_order)
        work = work_of(self.device, window, blocking, pairs, kind=kind, bases=bases)
        self._order = choose_order(work)
        return choose_tile(self.device, window, blocking, pairs, kind=kind, bases=bases)

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
        counted = neon.family(self.device)
        if counted == "bytes32":
            return byte_counts(bits, table(pack_bytes(planes), "plane"), window, blocking, tile)
        if counted is not None:
            steps = table(pack_steps(planes, tile), "plane")
            return step_counts(bits, steps, planes.shape[4], window, blocking, tile)
        if family(self.device) == "nibble":
            nibbles = table(pack_nibbles(planes), "nibble")
            lookup = table(lookup_table(), "lookup")
            return nibble_counts(bits, nibbles, lookup, window, blocking, tile)
        return accumulate.popcounts(bits, table(planes, "plane"), window, blocking, tile)

    def products(
        self,
        data: te.Tensor,
        weights: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        """Sums of a float convolution: see ``compute.accumulate.products``."""
        if neon.family(self.device) in neon.STEPS:
            steps = table(float_steps.pack_steps(weights, tile), "weight")
            return float_steps.step_products(data, steps, window, blocking, tile)
        return accumulate.products(data, table(weights, "weight"), window, blocking, tile)

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
        """Sums of a convolution on bytes: see ``compute.byte_products.byte_products``."""
        packed = byte_products.pack_quads(weights, blocking)
        if neon.family(self.device) in neon.STEPS:
            steps = table(byte_products.pack_steps(packed, tile), "weight")
            return byte_products.step_byte_products(codes, steps, window, blocking, tile, zero)
        quads = table(packed, "weight")
        return byte_products.byte_products(codes, quads, window, blocking, tile, zero)

    def window(self, func: Any, tile: Tile, choice: Choice | None = None) -> Any:
        """Schedule a fused convolution; ``choice`` is the rest of a tuning record."""
        choice = choice or Choice(tile, order=self._order)
        sch = s_tir.Schedule(func)
        if "acc" not in blocks.names(sch):  # nothing depends on the convolution
            return schedule_any(func)
        if "split" in blocks.names(sch):
            sch.compute_inline(sch.get_sblock("split"))
            func = sch.mod["main"]
        cores, counted = self.device.cores, neon.family(self.device)
        if counted == "bytes32" and "byte_acc" in blocks.names(sch):
            return schedule_bits(func, tile, cores=cores, choice=choice)
        if STRIDES in sch.get(sch.get_sblock("acc")).annotations:
            core = Core(dot=counted == "dot", in_order=self.device.in_order)
            return schedule_steps(func, tile, core, cores=cores, choice=choice)
        if "byte_acc" in blocks.names(sch):
            return schedule_nibbles(func, tile, cores=cores, choice=choice)
        dot = instruction(self.device)
        return schedule_window(func, tile, cores=cores, choice=choice, dot=dot)

    def lanes(self, func: Any, choice: Choice | None = None) -> Any:
        """Schedule a fused kernel without a reduction."""
        if "acc" not in blocks.names(s_tir.Schedule(func)):  # the result is constant
            return schedule_any(func)
        thirty_two = neon.family(self.device) == "bytes32"
        return schedule_lanes(func, TABLE if thirty_two else INSTRUCTIONS, choice)

    def pool(
        self,
        func: Any,
        window: Window,
        blocking: Blocking,
        planes: int,
        kind: Kind,
        choice: Choice | None = None,
    ) -> Any:
        """Schedule pooling of ``planes`` planes of bits, or of bytes (1), between two layers."""
        return schedule_pool(func, choice or default_pool(window, blocking, planes, kind))

    def rest(self, func: Any) -> Any:
        """Schedule any other kernel: parallel outside, vectors inside."""
        return schedule_any(func)


def kernels_of(device: Device) -> Kernels:
    """The default kernels of ``device``."""
    if device.gpu is None:
        return Kernels(device)
    from .cuda.kernels import CudaKernels  # which is made of this module's class

    return CudaKernels(device)
