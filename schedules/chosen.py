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


@dataclass
class Layer:
    """What a kernel computes in its lanes; of its ``pairs`` of planes ``bases`` are weights'.

    Pooling has planes for ``pairs``.
    """

    window: Window
    blocking: Blocking
    pairs: int
    kind: Kind
    bases: int = 1


class PlainKernels(Kernels):
    """No tile and no schedule: what a kernel computes, the same for every choice and device.

    ``layer`` is that of the kernel that was built last, ``None`` where there is nothing to tune.
    """

    layer: Layer | None = None

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Kind, bases: int = 1
    ) -> Tile:
        self.layer = Layer(window, blocking, pairs, kind, bases)
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

    def products(
        self,
        data: te.Tensor,
        weights: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
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
        quads = table(byte_products.pack_quads(weights, blocking), "weight")
        return byte_products.byte_products(codes, quads, window, blocking, tile, zero)

    def window(self, func: Any, tile: Tile, choice: Choice | None = None) -> Any:
        if "acc" not in blocks.names(s_tir.Schedule(func)):  # nothing depends on the convolution
            self.layer = None
        return func

    def lanes(self, func: Any, choice: Choice | None = None) -> Any:
        self.layer = _lanes_layer(func)
        return func

    def pool(
        self,
        func: Any,
        window: Window,
        blocking: Blocking,
        planes: int,
        kind: Kind,
        choice: Choice | None = None,
    ) -> Any:
        self.layer = Layer(window, blocking, planes, kind)
        return func


def _lanes_layer(func: Any) -> Layer | None:
    """The layer of a kernel without a reduction: an image whose channels stay in their lanes."""
    sch = s_tir.Schedule(func)
    if "acc" not in blocks.names(sch):
        return None
    loops = sch.get_loops(sch.get_sblock("acc"))
    batch, height, width, groups, count, lanes = (blocks.extent(sch, loop) or 1 for loop in loops)
    channels = groups * count * lanes
    window = Window(batch, height, width, channels, channels)
    return Layer(window, Blocking(channels, groups, lanes), 1, "lanes")


class ChosenKernels(Kernels):
    """One kernel as ``choice`` says."""

    def __init__(self, device: Device, choice: Choice) -> None:
        super().__init__(device)
        self.choice = choice

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Kind, bases: int = 1
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
        if neon.family(self.device) is not None:
            return super().counts(bits, planes, window, blocking, tile, table)
        if self.choice.count == "nibble":
            nibbles = table(pack_nibbles(planes), "nibble")
            lookup = table(lookup_table(), "lookup")
            return nibble_counts(bits, nibbles, lookup, window, blocking, tile)
        return accumulate.popcounts(bits, table(planes, "plane"), window, blocking, tile)

    def window(self, func: Any, tile: Tile, choice: Choice | None = None) -> Any:
        return super().window(func, tile, choice or self.choice)

    def lanes(self, func: Any, choice: Choice | None = None) -> Any:
        return super().lanes(func, choice or self.choice)

    def pool(
        self,
        func: Any,
        window: Window,
        blocking: Blocking,
        planes: int,
        kind: Kind,
        choice: Choice | None = None,
    ) -> Any:
        return super().pool(func, window, blocking, planes, kind, choice or self.choice)


def chosen_kernels(device: Device, choice: Choice) -> Kernels:
    """The kernels of ``device`` with one kernel as ``choice`` says."""
    from .cuda.kernels import CudaKernels
    from .cuda.space import CudaChoice

    if isinstance(choice, CudaChoice):
        return CudaKernels(device, choice.block)
    return ChosenKernels(device, choice)
