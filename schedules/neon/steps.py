"""The loop nest of convolutions on AArch64: the reduction is a call of a microkernel.

::

    for b, g, o, h0 (parallel), w0:     # o and h0 in either order
        for m, p, part:                 # one pair of planes (bits), some registers of lanes
            microkernel: all taps and channels of a tile of pixels
        epilogue of the tile, unrolled and vectorised
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import DataType, s_tir, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_products import DOT
from abc_tvm.compute.byte_sums import STRIDES, WORDS
from abc_tvm.compute.float_steps import STEP_CHANNELS
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.machine import Machine
from abc_tvm.schedules.processor.intrinsics import lower_lanes
from abc_tvm.schedules.processor.spatial import schedule_rest
from abc_tvm.schedules.processor.window import (
    finish_tile_stage,
    parallel_tiles,
    schedule_tile_stage,
)

from .bit_kernel import BitKernel
from .float_kernel import FloatKernel
from .microkernel import Microkernel

TILE = "acc_o"
"""Name that ``blockize`` gives to the block that the microkernel computes."""


def schedule_steps(func: Any, choice: Choice, machine: Machine, *, dot: bool = False) -> Any:
    """Schedule a fused convolution whose reduction goes in steps. Returns a PrimFunc.

    That is :func:`abc_tvm.compute.byte_sums.step_counts`,
    :func:`abc_tvm.compute.float_steps.step_products` or
    :func:`abc_tvm.compute.byte_products.step_byte_products`. Of ``choice`` tile, order and cut
    matter. ``dot``: counts of bits are summed by ``udot``.
    """
    tile = choice.tile
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    acc = sch.get_sblock("acc")
    loops = sch.get_loops(acc)
    channels = [loops.pop()] if DOT in sch.get(acc).annotations else []
    b, h, w, g, o, *planes, lane, kh, kw, c = loops
    sums = prod(blocks.extent(sch, loop) or 1 for loop in (*planes, lane))
    registers = (blocks.extent(sch, lane) or 1) // WORDS // tile.parts
    scratch = 4 * tile.rows * tile.columns * sums
    h0, h1 = sch.split(h, [None, tile.rows])
    w0, w1 = sch.split(w, [None, tile.columns])
    part, lane = sch.split(lane, [tile.parts, None])
    rows = [o, h0] if choice.order == "weights" else [h0, o]
    sch.reorder(b, g, *rows, w0, *planes, part, kh, kw, c, h1, w1, lane, *channels)
    epilogue = [n for n in order[order.index("acc") + 1 :] if not n.startswith("crop_")]
    for name in epilogue:
        sch.reverse_compute_at(sch.get_sblock(name), w0, preserve_unit_loops=True)
    for name in epilogue:
        schedule_tile_stage(sch, name)
    # Before loops are fused: blockize wants to see each index by itself.
    sch.blockize(kh)
    outer = parallel_tiles(sch, [b, g, *rows], w0, choice, machine.cores, scratch)
    for name in epilogue:
        finish_tile_stage(sch, name, outer)
    kernel = _kernel(sch.get(acc), tile, registers, 4 * sums, machine.in_order, dot)
    schedule_rest(sch, [n for n in order if n == "pad" or n.startswith("crop_")])
    return lower_lanes(sch.mod["main"], blocks={TILE: _call(kernel)})


def _kernel(
    block: Any, tile: Tile, registers: int, out: int, in_order: bool, dot: bool
) -> Microkernel:
    """The microkernel of a tile of ``acc``; ``out`` is the size in bytes of a pixel's sums.

    Activations are ``[B, H', W', ...]``, with those of a group side by side.
    """
    source = _activations(block).source
    _, _, width, *inner = (int(n) if isinstance(n, tirx.IntImm) else n for n in source.shape)
    kh, kw, sh, sw, dh, dw, count = (int(n) for n in block.annotations[STRIDES])
    column = int(DataType(source.dtype).itemsize) * prod(inner)
    row = width * column
    steps = tuple(
        y * dh * row + x * dw * column + 4 * WORDS * c
        for y in range(kh)
        for x in range(kw)
        for c in range(count)
    )
    places = [(h, w) for h in range(tile.rows) for w in range(tile.columns)]
    pixels = tuple(h * sh * row + w * sw * column for h, w in places)
    outputs = tuple(out * n for n in range(len(places)))
    if STEP_CHANNELS in block.annotations:
        channels = int(block.annotations[STEP_CHANNELS])
        on_bytes = DOT in block.annotations
        return FloatKernel(steps, pixels, outputs, registers, channels, in_order, on_bytes)
    return BitKernel(steps, pixels, outputs, registers, dot)


def _activations(block: Any) -> Any:
    """The region of activations that ``acc`` reads: the weights are one-dimensional."""
    out = block.writes[0].source
    return next(r for r in block.reads if len(r.region) > 1 and not r.source.same_as(out))


def _call(kernel: Microkernel) -> Callable[[Any], Any]:
    """From the block of a tile to the call of the microkernel, whose code travels with it."""

    def emit(block: Any) -> Any:
        out, weights = block.writes[0], next(r for r in block.reads if len(r.region) == 1)
        places = [_begin(region) for region in (out, _activations(block), weights)]
        # TVM shrinks a buffer to the elements that are named: so the last one is named as well.
        call = tirx.call_extern("int32", kernel.name, *places, _end(out))
        zero = tirx.const(0, "int32")
        return tirx.AttrStmt(zero, "pragma_import_llvm", kernel.llvm(), tirx.Evaluate(call))

    return emit


def _begin(region: Any) -> Any:
    """Address of the first element of a region of a buffer."""
    return tirx.address_of(tirx.BufferLoad(region.source, [part.min for part in region.region]))


def _end(region: Any) -> Any:
    """Address of the last element of a region of a buffer."""
    last = [part.min + part.extent - 1 for part in region.region]
    return tirx.address_of(tirx.BufferLoad(region.source, last))
