"""Which tile a block of threads computes when no tuning record names one.

The rule is analytic; its throughputs are those that the device's file states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from abc_tvm.compute.flat_taps import STEP, steps
from abc_tvm.compute.geometry import WORD, words
from abc_tvm.compute.int8_products import QUAD, code_slots
from abc_tvm.errors import TargetError
from abc_tvm.schedules.machine import GpuFacts, MachineFacts
from abc_tvm.schedules.problem import Kind, Problem

Unit = Literal["cores", "tensor"]
UNITS: tuple[Unit, ...] = ("cores", "tensor")

OPEN_BATCH = 32
"""Images that the rule assumes where the batch is not known."""

ACCUMULATORS = 64
"""Sums that a lane keeps in registers; more only where a single pixel needs them."""

OWN = 8
"""Neighbouring channels of a lane."""

WARPS = ((1, 1), (2, 1), (1, 2), (4, 1), (2, 2), (1, 4), (8, 1))
"""Warps of a block of threads: along the pixels, and along the lane blocks."""

_ROW = STEP + 4
_RESIDENT = 2  # blocks of a multiprocessor that the rule hopes for


@dataclass(frozen=True)
class BlockTile:
    """``pixels`` of a lane times ``blocks`` of 32 channels, ``warps_p`` by ``warps_o`` warps.

    A block of threads thus computes ``8 * pixels * warps_p`` pixels and ``blocks * warps_o`` lane
    blocks. ``unit``: xor + popc on ordinary cores, or tensor cores. The weight planes come in
    ``rounds``, each of which reads the pixels again: where M·N sums are more than registers.
    """

    pixels: int = 1
    blocks: int = 1
    warps_p: int = 4
    warps_o: int = 1
    unit: Unit = "cores"
    rounds: int = 1

    @property
    def threads(self) -> int:
        return 32 * self.warps_p * self.warps_o

    @property
    def block_pixels(self) -> int:
        return 8 * self.pixels * self.warps_p

    @property
    def block_blocks(self) -> int:
        return self.blocks * self.warps_o

    def shared_bytes(self, m: int, p: int) -> int:
        """Shared memory of a block of threads, for M weight planes and P activation planes."""
        pixel_words = self.block_pixels * p * _ROW
        return 2 * 4 * (pixel_words + self.block_blocks * STEP * (m // self.rounds) * WORD)


def gpu_of(machine: MachineFacts) -> GpuFacts:
    """The GPU of a machine. Raises ``TargetError`` where there is none."""
    if machine.gpu is None:
        raise TargetError(f"target {machine.name}: not a GPU")
    return machine.gpu


def depth(problem: Problem) -> int:
    """Steps of the flat reduction."""
    channels = problem.window.group_in
    per_tap = {
        "bitserial": words(channels),
        "int8": code_slots(channels) // QUAD,
        "float": channels,
    }
    return steps(problem.window.taps, per_tap[problem.kind])


def units(gpu: GpuFacts, kind: Kind) -> tuple[Unit, ...]:
    """What can multiply on a GPU."""
    absent = kind == "bitserial" and gpu.b1 == "none"
    return ("cores",) if absent or kind == "float" else UNITS


def architecture(gpu: GpuFacts) -> int:
    """The number of a compute capability: 75, 80, ..."""
    return int(gpu.arch.removeprefix("sm_").rstrip("af"))


def candidates(machine: MachineFacts, problem: Problem) -> Iterator[BlockTile]:
    """Tiles that fit registers and shared memory and whose lane blocks divide the output's."""
    gpu, m, p = gpu_of(machine), problem.bases, problem.planes
    shared = gpu.block_shared_kib * 1024
    rounds = [n for n in range(1, m + 1) if m % n == 0]
    for unit in units(gpu, problem.kind):
        pixels = (1, 2, 4, 8) if unit == "cores" else (2, 4, 8)
        for shape in product(pixels, (1, 2, 4), WARPS, rounds):
            tile = BlockTile(shape[0], shape[1], *shape[2], unit, shape[3])
            if (
                in_registers(tile, problem)
                and tile.shared_bytes(m, p) <= shared
                and problem.blocking.blocks % tile.block_blocks == 0
            ):
                yield tile


def in_registers(tile: BlockTile, problem: Problem) -> bool:
    """Whether a lane keeps its sums in registers, or cannot keep fewer."""
    sums = OWN * tile.pixels * tile.blocks * (problem.bases // tile.rounds) * problem.planes
    least = tile.pixels * tile.blocks == (1 if tile.unit == "cores" else 2)
    return sums <= ACCUMULATORS or (least and tile.rounds == problem.bases)


def clocks(machine: MachineFacts, problem: Problem, tile: BlockTile) -> float:
    """Relative time of the whole output: waves of blocks, times the longest pipe of one block."""
    gpu, window = gpu_of(machine), problem.window
    m, p = problem.bases // tile.rounds, problem.planes
    batch = window.batch if isinstance(window.batch, int) else OPEN_BATCH
    pixels = batch * window.out_height * window.out_width
    grid = -(-pixels // tile.block_pixels) * (problem.blocking.blocks // tile.block_blocks)
    grid *= window.groups
    warps = tile.warps_p * tile.warps_o
    sums = tile.pixels * tile.blocks * OWN * m * p * 32 * warps  # of one block of threads
    loads: float
    if tile.unit == "tensor":
        per_clock = gpu.tensor_words if problem.kind == "bitserial" else gpu.tensor_quads
        # One product more a fragment counts the pixels' bits; fragments are single loads.
        more = 1 / (4 * tile.blocks * m) if problem.kind == "bitserial" else 0.0
        arithmetic = sums * STEP * (1 + more) / per_clock
        loads = warps * (tile.pixels * p * 2 + tile.blocks * m * 2 * 4)
    else:
        rates = {"bitserial": gpu.popc, "int8": gpu.dp4a, "float": gpu.fma}
        arithmetic = sums * STEP / rates[problem.kind]
        loads = warps * STEP * (tile.pixels * p / 4 + tile.blocks * m * 2)
    copies = (tile.block_pixels * p + tile.block_blocks * m * WORD) * STEP / 32
    step = max(arithmetic, loads + copies) + 40 / _RESIDENT
    waves = max(1.0, grid / (machine.cores * _RESIDENT))
    # Sums of a round are written to local memory, and read again.
    kept = 2 * sums / 32 if tile.rounds > 1 else 0.0
    return waves * (tile.rounds * (depth(problem) * step + kept) + 200)


AMPERE = 80
"""The compute capability from which fragments have 32 bytes a row."""


def choose(machine: MachineFacts, problem: Problem) -> BlockTile:
    """The default tile of a convolution; where nothing fits, one warp and one pixel a lane."""
    fitting = candidates(machine, problem)
    least = BlockTile(1, 1, 1, 1, "cores")
    return min(fitting, key=lambda tile: clocks(machine, problem, tile), default=least)
