"""The block of sums of a fused kernel: what it says of itself, and the call that computes it."""

from __future__ import annotations

from tvm import s_tir, tirx

from abc_tvm.compute.flat_taps import GEOMETRY
from abc_tvm.compute.geometry import Dim
from abc_tvm.compute.int8_products import DOT
from abc_tvm.schedules.blocks import role_of
from abc_tvm.schedules.machine import GpuFacts
from abc_tvm.schedules.problem import Kind

from .source import FUNCTIONS, window_source
from .statements import address, call
from .tiles import UNITS, BlockTile

TILE = "abc_tile"
"""Annotation of a reduction: the fields of its :class:`BlockTile`, the unit by its number."""


def numbers_of(tile: BlockTile) -> list[int]:
    """A tile as an annotation."""
    numbers = (tile.pixels, tile.blocks, tile.warps_p, tile.warps_o, tile.rounds)
    return [*numbers, UNITS.index(tile.unit)]


def tile_of(numbers: list[int]) -> BlockTile:
    """The tile of :func:`numbers_of`."""
    pixels, blocks, warps_p, warps_o, rounds, unit = numbers
    return BlockTile(pixels, blocks, warps_p, warps_o, UNITS[unit], rounds)


class Reduction:
    """The block ``sums`` among ``blocks``, all those of the kernel.

    ``geometry``: see :func:`abc_tvm.compute.flat_taps.geometry`; ``None`` where nothing is summed.
    ``planes``: of weights and of activations, one each where sums are not of bits.
    """

    def __init__(self, block: s_tir.SBlock, blocks: list[s_tir.SBlock]) -> None:
        self.block = block
        self.inputs = [other for other in blocks if role_of(other) in ("border", "groups")]
        said = {str(k): v for k, v in block.annotations.items()}
        self.tile = tile_of([int(v) for v in said[TILE]]) if TILE in said else BlockTile()
        self.geometry = [int(v) for v in said[GEOMETRY]] if GEOMETRY in said else None
        target = block.writes[0].source
        self.dtype = str(target.dtype)
        self.kind: Kind = "int8" if DOT in said else "bitserial"
        if self.dtype == "float32":
            self.kind = "float"
        self.batch: Dim = target.shape[0]
        self.height, self.width, self.groups, self.lane_blocks = (int(n) for n in target.shape[1:5])
        self.planes: tuple[int, ...] = tuple(int(n) for n in target.shape[5:-1]) or (1, 1)

    def computed(
        self, geometry: list[int], sums: tirx.Buffer, pixels: Dim, gpu: GpuFacts
    ) -> tirx.Stmt:
        """The call that computes all ``sums`` of a lane."""
        data, weights = self.operands()
        m, p = self.planes
        numbers = [*geometry, *numbers_of(self.tile), m, p]
        name = f"{FUNCTIONS[self.kind]}_" + "_".join(str(n) for n in numbers)
        source = window_source(name, geometry, self.tile, m, p, self.kind, gpu)
        arguments = (address(data), address(weights), pixels, address(sums))
        return tirx.Evaluate(call(name, source, "void", *arguments))

    def operands(self) -> tuple[tirx.Buffer, tirx.Buffer]:
        """Buffers of the convolution's input, as the kernel gets it, and of its packed weights."""
        data, weights = (region.source for region in self.block.reads)
        for role in ("border", "groups"):
            for made in self.inputs:
                if role_of(made) == role and made.writes[0].source.same_as(data):
                    data = made.reads[0].source
        return data, weights
