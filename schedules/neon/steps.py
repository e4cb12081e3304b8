"""The loop nest of bit convolutions on AArch64: the reduction is a call of the microkernel.

::

    for b, g, o, h0 (parallel), w0:
        for m, p, part:                 # one pair of planes, some registers of lanes
            microkernel: all taps and words of a tile of pixels
        epilogue of the tile, unrolled and vectorised
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvm import s_tir, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import STRIDES, WORDS
from abc_tvm.schedules import blocks
from abc_tvm.schedules.intrinsics import lower_lanes
from abc_tvm.schedules.spatial import schedule_rest
from abc_tvm.schedules.window import finish_tile_stage, schedule_tile_stage

from .microkernel import Kernel

TILE = "acc_o"
"""Name that ``blockize`` gives to the block that the microkernel computes."""


def schedule_steps(func: Any, tile: Tile, *, dot: bool, cores: int = 4) -> Any:
    """Schedule a fused convolution on :func:`abc_tvm.compute.byte_sums.step_counts`.

    ``dot`` says that there is ``udot``; ``cores`` only sets how finely the parallel loop is cut.
    Returns a PrimFunc.
    """
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    acc = sch.get_sblock("acc")
    b, h, w, g, o, m, p, lane, *taps = sch.get_loops(acc)
    planes = blocks.extent(sch, m) or 1, blocks.extent(sch, p) or 1
    lanes = blocks.extent(sch, lane) or 1
    scratch = 4 * prod([tile.rows, tile.columns, *planes, lanes])
    h0, h1 = sch.split(h, [None, tile.rows])
    w0, w1 = sch.split(w, [None, tile.columns])
    part, lane = sch.split(lane, [tile.parts, None])
    sch.reorder(b, g, o, h0, w0, m, p, part, *taps, h1, w1, lane)
    epilogue = [n for n in order[order.index("acc") + 1 :] if not n.startswith("crop_")]
    for name in epilogue:
        sch.reverse_compute_at(sch.get_sblock(name), w0, preserve_unit_loops=True)
    for name in epilogue:
        schedule_tile_stage(sch, name)
    # Before loops are fused: blockize wants to see each index by itself.
    sch.blockize(taps[0])
    outer = blocks.parallel(sch, [b, g, o, h0], cores, scratch) + 1
    for name in epilogue:
        finish_tile_stage(sch, name, outer)
    kernel = _kernel(sch.get(acc), tile, planes, lanes, dot)
    schedule_rest(sch, [n for n in order if n == "pad" or n.startswith("crop_")])
    return lower_lanes(sch.mod["main"], blocks={TILE: _call(kernel)})


def _kernel(block: Any, tile: Tile, planes: tuple[int, int], lanes: int, dot: bool) -> Kernel:
    """The microkernel of a tile of ``acc``, which reads words ``[B, H', W', P, G, C, 4]``."""
    spread = next(r.source for r in block.reads if str(r.source.name) == "pad")
    _, _, width, *inner = (int(n) if isinstance(n, tirx.IntImm) else n for n in spread.shape)
    kh, kw, sh, sw, dh, dw = (int(n) for n in block.annotations[STRIDES])
    column = 4 * prod(inner)
    row = width * column
    steps = tuple(
        y * dh * row + x * dw * column + 4 * WORDS * c
        for y in range(kh)
        for x in range(kw)
        for c in range(inner[-2])
    )
    places = [(h, w) for h in range(tile.rows) for w in range(tile.columns)]
    pixels = tuple(h * sh * row + w * sw * column for h, w in places)
    outputs = tuple(4 * prod(planes) * lanes * n for n in range(len(places)))
    return Kernel(steps, pixels, outputs, lanes // WORDS // tile.parts, dot)


def _call(kernel: Kernel) -> Callable[[Any], Any]:
    """From the block of a tile to the call of the microkernel, whose code travels with it."""

    def emit(block: Any) -> Any:
        inputs = {str(r.source.name): r for r in block.reads}
        weights = next(r for name, r in inputs.items() if name != "pad")
        out = block.writes[0]
        places = [_begin(region) for region in (out, inputs["pad"], weights)]
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
