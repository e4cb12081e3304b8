"""A fused TE computation as the program of one CUDA thread.

::

    blockIdx.x: pixels, blockIdx.y: lane blocks, blockIdx.z: groups, threadIdx.x
        sums[pixels][blocks][M][P][8] of this lane          (window.cuh)
        for pixel, block of this lane (unrolled):
            every stage of the epilogue, for eight channels (unrolled), in registers
            bits of the eight channels, put together with those of three neighbours

All threads run everything, on the last pixel where there is none of theirs, and only stores are
guarded: lanes exchange registers, and none may be missing. The blocks of the TE computation keep
their bodies; what changes is the loops around them and where their results live. Buffers stay
declared in full: TVM's CompactBufferAllocation shrinks them to the eight channels of one slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import s_tir, tirx

from abc_tvm.compute.byte_products import DOT, QUAD
from abc_tvm.compute.flat_taps import GEOMETRY
from abc_tvm.compute.geometry import WORD
from abc_tvm.schedules.machine import Gpu
from abc_tvm.schedules.problem import Kind

from .source import FUNCTIONS, library, window_source
from .statements import address, address_at, blocks_of, bound, call, loop, realize, scope
from .tiles import OWN, UNITS, BlockTile

PLAN = "abc_tile"
"""Annotation of a reduction: the fields of its :class:`BlockTile`, the unit by its number."""

_QUAD = 4
_SKIPPED = ("pad", "split")


def plan_of(tile: BlockTile) -> list[int]:
    """A tile as an annotation."""
    numbers = (tile.pixels, tile.blocks, tile.warps_p, tile.warps_o, tile.rounds)
    return [*numbers, UNITS.index(tile.unit)]


def assemble(func: Any, gpu: Gpu) -> Any:
    """The CUDA program of a fused kernel with a block ``acc``. Returns a PrimFunc."""
    return _Program(func, gpu).build()


@dataclass
class _Slot:
    """Where one slot lies: its pixel, lane block and first channel of eight, and if it is there."""

    head: list[Any]
    group: Any
    block: Any
    first: Any
    valid: Any


class _Program:
    def __init__(self, func: Any, gpu: Gpu) -> None:
        self.func, self.gpu = _registers(func), gpu
        root = self.func.body.block
        self.local = list(root.alloc_buffers)
        self.blocks = {str(b.name_hint): b for b in blocks_of(root.body)}
        self.acc = self.blocks["acc"]
        found = {str(k): v for k, v in self.acc.annotations.items()}
        pixels, blocks, warps_p, warps_o, rounds, unit = (
            (int(v) for v in found[PLAN]) if PLAN in found else plan_of(BlockTile())
        )
        self.tile = BlockTile(pixels, blocks, warps_p, warps_o, UNITS[unit], rounds)
        self.dots = DOT in found
        self.geometry = [int(v) for v in found[GEOMETRY]] if GEOMETRY in found else None
        shape = self.acc.writes[0].source.shape
        self.batch = shape[0]
        self.height, self.width, self.groups, self.lane_blocks = (int(n) for n in shape[1:5])
        self.planes = tuple(int(n) for n in shape[5:-1]) or (1, 1)
        self.thread = tirx.Var("thread", "int32")
        self.grid = [tirx.Var(name, "int32") for name in ("block_x", "block_y", "block_z")]

    # ---- frame ------------------------------------------------------------------------

    def build(self) -> Any:
        tile = self.tile
        pixels = self.batch * (self.height * self.width)
        body = self.threads(pixels)
        extents = [
            tirx.floordiv(pixels + (tile.block_pixels - 1), tile.block_pixels),
            self.lane_blocks // tile.block_blocks,
            self.groups,
        ]
        body = bound(self.thread, tile.threads, "threadIdx.x", body)
        names = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
        for var, extent, name in reversed(list(zip(self.grid, extents, names, strict=True))):
            body = bound(var, extent, name, body)
        return self.func.with_body(scope("root", body))

    def threads(self, pixels: Any) -> Any:
        """What one thread does."""
        tile, (m, p) = self.tile, self.planes
        warp, lane = tirx.floordiv(self.thread, 32), tirx.floormod(self.thread, 32)
        i, o = tirx.Var("i", "int32"), tirx.Var("o", "int32")
        warp_pixel = tirx.floormod(warp, tile.warps_p) * (8 * tile.pixels)
        first = self.grid[0] * tile.block_pixels + warp_pixel
        pixel = first + i * 8 + tirx.floordiv(lane, _QUAD)
        # TVM shrinks a buffer only where it can prove that the index lies in it: also above 0.
        inside = tirx.Max(tirx.Min(pixel, pixels - 1), 0)
        area = self.height * self.width
        at = tirx.floormod(inside, area)
        head = [
            tirx.floordiv(inside, area),
            tirx.floordiv(at, self.width),
            tirx.floormod(at, self.width),
        ]
        warp_block = tirx.floordiv(warp, tile.warps_p) * tile.blocks
        block = self.grid[1] * tile.block_blocks + warp_block + o
        slot = _Slot(head, self.grid[2], block, tirx.floormod(lane, _QUAD) * OWN, pixel < pixels)

        def every(sums: Any) -> Any:
            return loop(i, tile.pixels, loop(o, tile.blocks, self.slot(slot, sums)))

        if self.geometry is None:
            return every(None)
        dtype = str(self.acc.writes[0].source.dtype)
        sums = tirx.decl_buffer(
            (tile.pixels, tile.blocks, m, p, OWN), dtype, name="sums", scope="local"
        )
        body = tirx.SeqStmt([self.reduce(sums, pixels), every((sums, i, o))])
        return scope("thread", body, [sums])

    def reduce(self, sums: Any, pixels: Any) -> Any:
        """The call that computes all sums of a lane."""
        data, weights = self.operands()
        m, p = self.planes
        kind: Kind = "int8" if self.dots else "bitserial"
        if str(sums.dtype) == "float32":
            kind = "float"
        assert self.geometry is not None  # noqa: S101  (the caller has looked)
        numbers = [*self.geometry, *plan_of(self.tile), m, p]
        name = f"{FUNCTIONS[kind]}_" + "_".join(str(n) for n in numbers)
        source = window_source(name, self.geometry, self.tile, m, p, kind, self.gpu)
        arguments = (address(data), address(weights), pixels, address(sums))
        return tirx.Evaluate(call(name, source, "void", *arguments))

    def operands(self) -> tuple[Any, Any]:
        """Buffers of the convolution's input and of its packed weights."""
        data, weights = (region.source for region in self.acc.reads)
        for name in ("pad", "split"):
            made = self.blocks.get(name)
            if made is not None and made.writes[0].source.same_as(data):
                data = made.reads[0].source
        return data, weights

    # ---- one slot ---------------------------------------------------------------------

    def slot(self, slot: _Slot, sums: tuple[Any, Any, Any] | None) -> Any:
        """Everything behind the reduction, for eight channels of one pixel."""
        parts: list[Any] = []
        local: list[Any] = []
        for name, block in self.blocks.items():
            if name in _SKIPPED:
                continue
            target = block.writes[0].source
            inner = any(target.same_as(buffer) for buffer in self.local)
            if inner:
                local.append(target)
            if name == "acc" and sums is not None:
                parts.append(self.copy(slot, target, *sums))
            elif name.startswith("pack_"):
                parts.append(self.pack(slot, block))
            elif name.startswith("word_"):
                parts.append(self.word(slot, block))
            elif name.startswith("bit_"):
                parts.append(self.bit(slot, block))
            elif name.startswith("crop_"):
                parts.append(self.crop(slot, block, target))
            elif name.startswith("code_"):
                parts.append(self.codes(slot, block, target))
            else:
                parts.append(self.stage(slot, block, None if inner else slot.valid))
        return scope("slot", tirx.SeqStmt(parts), local)

    def copy(self, slot: _Slot, target: Any, sums: Any, i: Any, o: Any) -> Any:
        """The reduction's block: its values are there already."""
        loops = [(tirx.Var(n, "int32"), e) for n, e in zip("mp", self.planes, strict=True)]
        lane = tirx.Var("l", "int32")
        inner = [var for var, _ in loops] if len(target.shape) == 8 else []
        load = tirx.BufferLoad(sums, [i, o, loops[0][0], loops[1][0], lane])
        at = [*slot.head, slot.group, slot.block, *inner, slot.first + lane]
        body: Any = loop(lane, OWN, tirx.BufferStore(target, load, at))
        for var, extent in reversed(loops):
            body = loop(var, extent, body)
        return body

    def stage(self, slot: _Slot, block: Any, guard: Any) -> Any:
        """A block over (b, h, w, g, o, l), perhaps with a sum over planes."""
        lane = tirx.Var("l", "int32")
        reduced = [v for v in block.iter_vars if int(v.iter_type) != 0]
        loops = [(tirx.Var(str(v.var.name), "int32"), int(v.dom.extent)) for v in reduced]
        values = [*slot.head, slot.group, slot.block, slot.first + lane]
        body = realize(block, [*values, *(var for var, _ in loops)], guard)
        for var, extent in reversed(loops):
            body = loop(var, extent, body)
        return loop(lane, OWN, body)

    def bit(self, slot: _Slot, block: Any) -> Any:
        """Truth values of every plane."""
        lane, plane = tirx.Var("l", "int32"), tirx.Var("plane", "int32")
        values = [*slot.head, plane, slot.group, slot.block, slot.first + lane]
        planes = int(block.writes[0].source.shape[3])
        return loop(plane, planes, loop(lane, OWN, realize(block, values, None)))

    def pack(self, slot: _Slot, block: Any) -> Any:
        """Words of every plane: eight bits of this lane, and those of its neighbours."""
        bits = next(r.source for r in block.reads if len(r.source.shape) == 7)
        target, plane = block.writes[0].source, tirx.Var("plane", "int32")
        head = [*slot.head, plane, slot.group, slot.block]
        mine: Any = tirx.const(0, "uint32")
        for n in range(OWN):
            bit = tirx.Cast("uint32", tirx.BufferLoad(bits, [*head, slot.first + n]))
            mine = mine | (bit << tirx.const(n, "uint32"))
        mine = mine << tirx.Cast("uint32", slot.first)
        word = call("abc_quad_or", library("slot"), "uint32", mine)
        return loop(plane, int(target.shape[3]), tirx.BufferStore(target, word, head))

    def word(self, slot: _Slot, block: Any) -> Any:
        """Stores a word of each plane, another lane of four for each."""
        plane = tirx.Var("plane", "int32")
        mine = tirx.EQ(tirx.floordiv(slot.first, OWN), tirx.floormod(plane, _QUAD))
        values = [*slot.head, plane, slot.group, slot.block]
        planes = int(block.writes[0].source.shape[3])
        return loop(plane, planes, realize(block, values, tirx.And(slot.valid, mine)))

    def codes(self, slot: _Slot, block: Any, target: Any) -> Any:
        """Stores the bytes of this lane's channels at once."""
        value = next(r.source for r in block.reads if len(r.source.shape) == 6)
        head = [*slot.head, slot.group, slot.block]
        halves = []
        for half in range(0, OWN, QUAD):
            word: Any = tirx.const(0, "uint32")
            for n in range(QUAD):
                code = tirx.BufferLoad(value, [*head, slot.first + (half + n)])
                byte = tirx.Cast("uint32", code) & tirx.const(0xFF, "uint32")
                word = word | (byte << tirx.const(8 * n, "uint32"))
            halves.append(word)
        to = address_at(target, [*head, slot.first])
        store = call("abc_store8", library("slot"), "void", to, *halves)
        return tirx.IfThenElse(slot.valid, tirx.Evaluate(store), None)

    def crop(self, slot: _Slot, block: Any, target: Any) -> Any:
        """Stores the channels of a group that are no multiple of a lane block."""
        wide = next(r.source for r in block.reads if len(r.source.shape) == 6)
        lane = tirx.Var("l", "int32")
        per_group = int(target.shape[3]) // self.groups
        within = slot.block * WORD + slot.first + lane
        load = tirx.BufferLoad(wide, [*slot.head, slot.group, slot.block, slot.first + lane])
        store = tirx.BufferStore(target, load, [*slot.head, slot.group * per_group + within])
        there = tirx.And(slot.valid, within < per_group)
        return loop(lane, OWN, tirx.IfThenElse(there, store, None))


def _registers(func: Any) -> Any:
    """``func`` with everything between its blocks in registers."""
    sch = s_tir.Schedule(func)
    root = sch.get_sblock("root")
    inner = {str(buffer.name) for buffer in sch.get(root).alloc_buffers}
    for block in sch.get_child_blocks(root):
        if str(sch.get(block).writes[0].source.name) in inner:
            sch.set_scope(block, 0, "local")
    return sch.mod["main"]
