"""Kernels of NVIDIA GPUs: what :class:`abc_tvm.schedules.kernels.Kernels` is elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import s_tir, te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.flat_taps import (
    flat_counts,
    flat_dots,
    flat_products,
    fragments,
    in_rounds,
    pack_codes,
    pack_flat,
    pack_fragments,
)
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.errors import TargetError
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.kernels import Kernels, Table
from abc_tvm.schedules.tiles import Kind

from .program import PLAN, assemble, plan_of
from .rest import schedule_rest
from .tiles import BlockTile, Problem, choose


class CudaKernels(Kernels):
    """Kernels of one GPU; ``tile`` in place of the default rule's."""

    def __init__(self, device: Any, tile: BlockTile | None = None) -> None:
        super().__init__(device)
        self.chosen = tile

    def tile(
        self, window: Window, blocking: Blocking, pairs: int, kind: Kind, bases: int = 1
    ) -> Tile:
        """No padding to tiles here; ``counts`` and ``products`` choose the block's tile."""
        return Tile()

    def block_tile(self, problem: Problem) -> BlockTile:
        return self.chosen or choose(self.device, problem)

    def counts(
        self,
        bits: te.Tensor,
        planes: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        m, p = planes.shape[4], int(bits.shape[3])
        chosen = self.block_tile(Problem(window, blocking, m, p, "bits"))
        pack = pack_fragments if chosen.unit == "tensor" else pack_flat
        weights = table(in_rounds(pack, planes, chosen.rounds), "plane")
        return flat_counts(bits, weights, m, window, blocking, {PLAN: plan_of(chosen)})

    def products(
        self,
        data: te.Tensor,
        weights: np.ndarray,
        window: Window,
        blocking: Blocking,
        tile: Tile,
        table: Table,
    ) -> te.Tensor:
        chosen = self.block_tile(Problem(window, blocking, 1, 1, "float"))
        packed = table(in_rounds(pack_flat, weights, 1), "weight")
        return flat_products(data, packed, window, blocking, {PLAN: plan_of(chosen)})

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
        if zero:
            raise ValueError(f"codes of 0 must be 0 on a GPU, not {zero}")
        chosen = self.block_tile(Problem(window, blocking, 1, 1, "bytes"))
        flat = pack_flat(pack_codes(weights, blocking))
        ordered = (fragments(flat) if chosen.unit == "tensor" else flat)[:, None]
        packed = table(np.ascontiguousarray(ordered).view(np.int8), "weight")
        return flat_dots(codes, packed, window, blocking, {PLAN: plan_of(chosen)})

    def window(self, func: Any, tile: Tile, choice: Choice | None = None) -> Any:
        return self.lanes(func)

    def lanes(self, func: Any, choice: Choice | None = None) -> Any:
        if "acc" not in blocks.names(s_tir.Schedule(func)):  # the result is constant
            return schedule_rest(func)
        if self.device.gpu is None:
            raise TargetError(f"target {self.device.name}: not a GPU")
        return assemble(func, self.device.gpu)

    def pool(self, func: Any, *_: Any) -> Any:
        return schedule_rest(func)

    def rest(self, func: Any) -> Any:
        return schedule_rest(func)
