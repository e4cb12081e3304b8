"""A fused TE computation as the program of one CUDA thread.

::

    blockIdx.x: pixels, blockIdx.y: lane blocks, blockIdx.z: groups, threadIdx.x
        sums[pixels][blocks][M][P][8] of this lane          (window.cuh)
        for pixel, block of this lane (unrolled):
            every stage of the epilogue, for eight channels (unrolled), in registers
            bits of the eight channels, put together with those of three neighbours

All threads run everything, on the last pixel where there is none of theirs, and only stores are
guarded: lanes exchange registers, and none may be missing. :mod:`.reduction` computes the sums,
:mod:`.slot` what follows from them.
"""

from __future__ import annotations

from tvm import s_tir, tirx

from abc_tvm.compute.geometry import Dim
from abc_tvm.schedules.blocks import all_of, in_order, role_of
from abc_tvm.schedules.machine import GpuFacts

from .reduction import Reduction
from .slot import NEIGHBOURS, Slot, copied
from .statements import bound, loop, scope
from .tiles import OWN

Held = tuple[tirx.Buffer, tirx.Var, tirx.Var]
"""The sums of a lane, and which pixel and lane block of its is at hand."""


def assemble(func: tirx.PrimFunc, gpu: GpuFacts) -> tirx.PrimFunc:
    """The CUDA program of a fused kernel with a block ``sums``."""
    return _Program(func, gpu).build()


class _Program:
    def __init__(self, func: tirx.PrimFunc, gpu: GpuFacts) -> None:
        self.func, self.gpu = _registers(func), gpu
        root = self.func.body.block
        self.local = list(root.alloc_buffers)
        self.blocks = in_order(root.body)
        sums = next(block for block in self.blocks if role_of(block) == "sums")
        self.reduction = Reduction(sums, self.blocks)
        self.thread = tirx.Var("thread", "int32")
        self.grid = [tirx.Var(name, "int32") for name in ("block_x", "block_y", "block_z")]

    def build(self) -> tirx.PrimFunc:
        made = self.reduction
        tile = made.tile
        pixels = made.batch * (made.height * made.width)
        body = self.threads(pixels)
        extents = [
            tirx.floordiv(pixels + (tile.block_pixels - 1), tile.block_pixels),
            made.lane_blocks // tile.block_blocks,
            made.groups,
        ]
        body = bound(self.thread, tile.threads, "threadIdx.x", body)
        names = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
        for var, extent, name in reversed(list(zip(self.grid, extents, names, strict=True))):
            body = bound(var, extent, name, body)
        return self.func.with_body(scope("root", body))

    def threads(self, pixels: Dim) -> tirx.Stmt:
        """What one thread does."""
        made = self.reduction
        tile = made.tile
        warp, lane = tirx.floordiv(self.thread, 32), tirx.floormod(self.thread, 32)
        i, o = tirx.Var("i", "int32"), tirx.Var("o", "int32")
        warp_pixel = tirx.floormod(warp, tile.warps_p) * (8 * tile.pixels)
        first = self.grid[0] * tile.block_pixels + warp_pixel
        pixel = first + i * 8 + tirx.floordiv(lane, NEIGHBOURS)
        # TVM shrinks a buffer only where it can prove that the index lies in it: also above 0.
        inside = tirx.Max(tirx.Min(pixel, pixels - 1), 0)
        area = made.height * made.width
        at = tirx.floormod(inside, area)
        head = [
            tirx.floordiv(inside, area),
            tirx.floordiv(at, made.width),
            tirx.floormod(at, made.width),
        ]
        warp_block = tirx.floordiv(warp, tile.warps_p) * tile.blocks
        block = self.grid[1] * tile.block_blocks + warp_block + o
        own = tirx.floormod(lane, NEIGHBOURS) * OWN
        slot = Slot(head, self.grid[2], block, own, pixel < pixels)

        def every(sums: Held | None) -> tirx.Stmt:
            return loop(i, tile.pixels, loop(o, tile.blocks, self.slot(slot, sums)))

        if made.geometry is None:
            return every(None)
        shape = (tile.pixels, tile.blocks, *made.planes, OWN)
        sums = tirx.decl_buffer(shape, made.dtype, name="sums", scope="local")
        computed = made.computed(made.geometry, sums, pixels, self.gpu)
        return scope("thread", tirx.SeqStmt([computed, every((sums, i, o))]), [sums])

    def slot(self, slot: Slot, sums: Held | None) -> tirx.Stmt:
        """Everything behind the reduction, for eight channels of one pixel."""
        parts: list[tirx.Stmt] = []
        local: list[tirx.Buffer] = []
        for block in self.blocks:
            if role_of(block) in ("border", "groups"):
                continue
            target = block.writes[0].source
            inner = any(target.same_as(buffer) for buffer in self.local)
            if inner:
                local.append(target)
            if role_of(block) == "sums" and sums is not None:
                held, i, o = sums
                parts.append(copied(slot, target, held, (i, o), self.reduction.planes))
            else:
                parts.append(slot.computed(block, inner))
        return scope("slot", tirx.SeqStmt(parts), local)


def _registers(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with everything between its blocks in registers."""
    sch = s_tir.Schedule(func)
    inner = {str(buffer.name) for buffer in sch.get(sch.get_sblock("root")).alloc_buffers}
    for block in all_of(sch):
        if str(sch.get(block).writes[0].source.name) in inner:
            sch.set_scope(block, 0, "local")
    return sch.mod["main"]
