"""Which tile a block of threads computes when no tuning record names one.

The rule is analytic; its throughputs are published ones (CUDA C++ Programming Guide, "Arithmetic
Instructions"; see ``targets/cuda-*.toml``), none was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from abc_tvm.compute.flat_taps import STEP, steps
from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.compute.lanes import Blocking
from abc_tvm.targets import Device

Unit = Literal["cores", "tensor"]
UNITS: tuple[Unit, ...] = ("cores", "tensor")

OPEN_BATCH = 32
"""Images that the rule assumes where the batch is not known."""

ACCUMULATORS = 64
"""Sums that a lane keeps in registers; more only where a single pixel needs them."""

_ROW = STEP + 4
_RESIDENT = 2  # blocks of a multiprocessor that the rule hopes for


@dataclass(frozen=True)
class BlockTile:
    """``pixels`` of a lane times ``blocks`` of 32 channels, ``warps_p`` by ``warps_o`` warps.

    A block of threads thus computes ``8 * pixels * warps_p`` pixels and ``blocks * warps_o`` lane
    blocks. ``unit``: xor + popc on ordinary cores, or tensor cores.
    """

    pixels: int = 1
    blocks: int = 1
    warps_p: int = 4
    warps_o: int = 1
    unit: Unit = "cores"

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
        return 2 * 4 * (pixel_words + self.block_blocks * STEP * m * WORD)


@dataclass(frozen=True)
class Problem:
    """What the rule needs to know of a convolution. ``kind``: "bits" or "float"."""

    window: Window
    blocking: Blocking
    m: int
    p: int
    kind: Literal["bits", "float"]

    @property
    def depth(self) -> int:
        """Steps of the flat reduction."""
        per_tap = words(self.window.group_in) if self.kind == "bits" else self.window.group_in
        return steps(self.window.taps, per_tap)


def units(device: Device, kind: str) -> tuple[Unit, ...]:
    """What can multiply on ``device``."""
    if kind == "float" or device.gpu is None or device.gpu.b1 == "none":
        return ("cores",)
    return UNITS


def candidates(device: Device, problem: Problem) -> Iterator[BlockTile]:
    """Tiles that fit registers and shared memory and whose lane blocks divide the output's."""
    if device.gpu is None:
        return
    pairs, total = problem.m * problem.p, problem.blocking.blocks
    for unit in units(device, problem.kind):
        for pixels in (1, 2, 4, 8) if unit == "cores" else (2, 4, 8):
            for blocks in (1, 2, 4):
                least = pixels * blocks == (1 if unit == "cores" else 2)
                if 8 * pixels * blocks * pairs > ACCUMULATORS and not least:
                    continue
                for warps_p, warps_o in ((1, 1), (2, 1), (1, 2), (4, 1), (2, 2), (1, 4), (8, 1)):
                    tile = BlockTile(pixels, blocks, warps_p, warps_o, unit)
                    shared = tile.shared_bytes(problem.m, problem.p)
                    fits = shared <= device.gpu.block_shared_kib * 1024
                    if fits and total % tile.block_blocks == 0:
                        yield tile


def clocks(device: Device, problem: Problem, tile: BlockTile) -> float:
    """Relative time of the whole output: waves of blocks, times the longest pipe of one block."""
    window, m, p = problem.window, problem.m, problem.p
    batch = window.batch if isinstance(window.batch, int) else OPEN_BATCH
    pixels = batch * window.out_height * window.out_width
    grid = -(-pixels // tile.block_pixels) * (problem.blocking.blocks // tile.block_blocks)
    grid *= window.groups
    warps = tile.warps_p * tile.warps_o
    sums = tile.pixels * tile.blocks * 8 * m * p * 32 * warps  # of one block of threads
    loads: float
    if tile.unit == "tensor":
        per_clock = TENSOR_WORDS[device.gpu.arch] if device.gpu is not None else 1.0
        # One product more a fragment counts the pixels' bits; fragments are single loads.
        arithmetic = sums * STEP * (1 + 1 / (4 * tile.blocks * m)) / per_clock
        loads = warps * (tile.pixels * p * 2 + tile.blocks * m * 2 * 4)
    else:
        arithmetic = sums * STEP / (16 if problem.kind == "bits" else FMA[device.gpu.arch])  # type: ignore[union-attr]
        loads = warps * STEP * (tile.pixels * p / 4 + tile.blocks * m * 2)
    copies = (tile.block_pixels * p + tile.block_blocks * m * WORD) * STEP / 32
    step = max(arithmetic, loads + copies) + 40 / _RESIDENT
    waves = max(1.0, grid / (device.cores * _RESIDENT))
    return waves * (problem.depth * step + 200)


FMA = {"sm_75": 64, "sm_80": 64, "sm_86": 128, "sm_89": 128, "sm_90": 128}
"""float32 multiply-adds of a multiprocessor in one clock."""

TENSOR_WORDS = {"sm_75": 256.0, "sm_80": 512.0, "sm_86": 256.0, "sm_89": 256.0, "sm_90": 512.0}
"""32-bit words of binary products of the tensor cores of a multiprocessor in one clock.

A100: 4,992 TOPS (A100 architecture whitepaper) are 512 words. The others are eight times int8 of
their own whitepapers, the ratio of A100; none states a figure for bits.
"""


def choose(device: Device, problem: Problem) -> BlockTile:
    """The default tile of a convolution on ``device``."""
    found = list(candidates(device, problem))
    return min(found, key=lambda tile: clocks(device, problem, tile), default=_smallest(problem))


def _smallest(problem: Problem) -> BlockTile:
    """Where nothing fits: one warp, one pixel a lane."""
    return BlockTile(1, 1, 1, 1, "cores")
