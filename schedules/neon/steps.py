"""The loop nest of convolutions on AArch64: the reduction is a call of a microkernel.

::

    for m, p, part:     # one pair of planes (bits), some registers of lanes
        microkernel: all taps and channels of a tile of pixels
"""

from __future__ import annotations

from math import prod

from tvm import DataType, s_tir, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import STRIDES, WORDS
from abc_tvm.compute.float_steps import STEP_CHANNELS
from abc_tvm.compute.int8_products import DOT
from abc_tvm.compute.roles import ROLE
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.processor.intrinsics import Emit
from abc_tvm.schedules.processor.skeleton import Skeleton

from .bit_kernel import BitKernel
from .float_kernel import FloatKernel
from .microkernel import Microkernel


def schedule_steps(
    func: tirx.PrimFunc, choice: Choice, machine: MachineFacts, *, dot: bool = False
) -> tirx.PrimFunc:
    """Schedule a fused convolution whose reduction goes in steps.

    That is :func:`abc_tvm.compute.byte_sums.step_counts`,
    :func:`abc_tvm.compute.float_steps.step_products` or
    :func:`abc_tvm.compute.int8_products.step_int8_products`. Of ``choice`` tile, order and cut
    matter. ``dot``: counts of bits are summed by ``udot``.
    """
    nest = Skeleton(func, choice, machine.cores, several=False)
    sch, tile = nest.sch, choice.tile
    registers = (blocks.extent(sch, nest.lane) or 1) // WORDS // tile.parts
    part, lane = sch.split(nest.lane, [tile.parts, None])
    kh, kw, c, *channels = nest.taps
    nest.order([*nest.planes, part, kh, kw, c, *nest.tile, lane, *channels])
    # Before loops are fused: blockize wants to see each index by itself.
    sch.annotate(sch.blockize(kh), ROLE, "tile")
    nest.around()
    block = sch.get(nest.block)
    kernel = _kernel(block, tile, registers, 4 * nest.sums, machine.in_order, dot)
    return nest.finish(whole={"tile": _call(kernel)})


def _kernel(
    block: s_tir.SBlock, tile: Tile, registers: int, out: int, in_order: bool, dot: bool
) -> Microkernel:
    """The microkernel of a tile of ``block``; ``out`` is the size in bytes of a pixel's sums.

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
        on_int8 = DOT in block.annotations
        return FloatKernel(steps, pixels, outputs, registers, channels, in_order, on_int8)
    return BitKernel(steps, pixels, outputs, registers, dot)


def _activations(block: s_tir.SBlock) -> tirx.BufferRegion:
    """The region of activations that the sums read: the weights are one-dimensional."""
    out = block.writes[0].source
    return next(r for r in block.reads if len(r.region) > 1 and not r.source.same_as(out))


def _call(kernel: Microkernel) -> Emit:
    """From the block of a tile to the call of the microkernel, whose code travels with it."""

    def emit(block: s_tir.SBlock) -> tirx.Stmt:
        out, weights = block.writes[0], next(r for r in block.reads if len(r.region) == 1)
        places = [_begin(region) for region in (out, _activations(block), weights)]
        # TVM shrinks a buffer to the elements that are named: so the last one is named as well.
        call = tirx.call_extern("int32", kernel.name, *places, _end(out))
        zero = tirx.const(0, "int32")
        return tirx.AttrStmt(zero, "pragma_import_llvm", kernel.llvm(), tirx.Evaluate(call))

    return emit


def _begin(region: tirx.BufferRegion) -> tirx.Expr:
    """Address of the first element of a region of a buffer."""
    return tirx.address_of(tirx.BufferLoad(region.source, [part.min for part in region.region]))


def _end(region: tirx.BufferRegion) -> tirx.Expr:
    """Address of the last element of a region of a buffer."""
    last = [part.min + part.extent - 1 for part in region.region]
    return tirx.address_of(tirx.BufferLoad(region.source, last))
