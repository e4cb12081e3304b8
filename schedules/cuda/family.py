"""The family of NVIDIA GPUs."""

from __future__ import annotations

import numpy as np
from tvm import te, tirx

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
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Family, Plan, Table
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.problem import SUMS, Problem

from .program import assemble
from .reduction import TILE, numbers_of
from .rest import schedule_rest
from .space import CudaChoice, CudaSpace
from .tiles import BlockTile, choose, gpu_of


class Cuda(Family):
    """What lies outside the image must be 0 for bytes, so that they are signed."""

    code = "int8"
    gpu = True
    choices = CudaChoice
    tunable = True

    def default(self, machine: MachineFacts, problem: Problem) -> CudaChoice:
        if problem.kind not in SUMS:
            return CudaChoice()
        return CudaChoice(block=choose(machine, problem))

    def space(self, machine: MachineFacts, problem: Problem, threads: int) -> CudaSpace | None:
        """Kernels without a sum are the one of their kind."""
        return CudaSpace(machine, problem, threads) if problem.kind in SUMS else None

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int = 0
    ) -> te.Tensor:
        problem, tile = plan.problem, _block_tile(plan.choice)
        window, blocking, note = problem.window, problem.blocking, {TILE: numbers_of(tile)}
        if problem.kind == "bitserial":
            pack = pack_fragments if tile.unit == "tensor" else pack_flat
            planes = table(in_rounds(pack, weights, tile.rounds), "plane")
            return flat_counts(data, planes, problem.bases, window, blocking, note)
        if problem.kind == "float":
            packed = table(in_rounds(pack_flat, weights, 1), "weight")
            return flat_products(data, packed, window, blocking, note)
        if zero:
            raise ValueError(f"codes of 0 must be 0 on a GPU, not {zero}")
        flat = pack_flat(pack_codes(weights, blocking))
        ordered = (fragments(flat) if tile.unit == "tensor" else flat)[:, None]
        packed = table(np.ascontiguousarray(ordered).view(np.int8), "weight")
        return flat_dots(data, packed, window, blocking, note)

    def schedule(self, plan: Plan, func: tirx.PrimFunc) -> tirx.PrimFunc:
        # Pooling has no such block; nor has what does not depend on its convolution.
        if not blocks.has(func, "sums"):
            return schedule_rest(func)
        return assemble(func, gpu_of(plan.machine))

    def rest(self, func: tirx.PrimFunc) -> tirx.PrimFunc:
        return schedule_rest(func)


def _block_tile(choice: Choice) -> BlockTile:
    if not isinstance(choice, CudaChoice):
        raise ValueError(f"not a choice for a GPU: {choice}")
    return choice.block


CUDA = Cuda()
