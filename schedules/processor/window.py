"""The loop nest of every convolution: lanes over output channels, a tile of accumulators.

::

    for b, g, o0, h0 (parallel), w0:
        for m, p (those of Tile.planes), part of the lanes:
            for kh, kw, c:                   # reduction outside the unrolled tile
                for h1, w1, o1, m, p:        # unrolled: accumulators stay in registers
                    for lane (vector): acc += f(activation (broadcast), weights)
        epilogue of the tile, unrolled and vectorised: combine planes, bias, threshold, pack

The same nest serves bits (``popcount`` of ``xor``) and floats (products).
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import s_tir

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_products import DOT
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice, Taps

from .intrinsics import INSTRUCTIONS, Instruction, lower_lanes
from .spatial import schedule_rest

OUTER = 5
"""Loops outside the tile: ``b, g, o0, h0, w0``."""


def schedule_window(
    func: Any, choice: Choice, *, cores: int = 4, dot: Instruction | None = None
) -> Any:
    """Schedule a fused convolution made by :mod:`abc_tvm.compute`. Returns a PrimFunc.

    ``cores`` only sets how finely the parallel loop is cut. ``dot`` is the dot product of bytes.
    """
    tile = choice.tile
    sch = s_tir.Schedule(func)
    order = blocks.names(sch)
    acc = sch.get_sblock("acc")
    on_bytes = DOT in sch.get(acc).annotations
    loops = sch.get_loops(acc)
    channels = [loops.pop()] if on_bytes else []
    b, h, w, g, o, *planes, lane, kh, kw, c = loops
    scratch = 4 * prod([tile.rows, tile.columns, tile.blocks])
    scratch *= prod(blocks.extent(sch, loop) or 1 for loop in (*planes, lane))
    h0, h1 = sch.split(h, [None, tile.rows])
    w0, w1 = sch.split(w, [None, tile.columns])
    o0, o1 = sch.split(o, [None, tile.blocks])
    around, inside = split_planes(planes, tile)
    if tile.parts > 1:
        part, lane = sch.split(lane, [tile.parts, None])
        around.append(part)
    rows = [o0, h0] if choice.order == "weights" else [h0, o0]
    sch.reorder(b, g, *rows, w0, *around, kh, kw, c, h1, w1, o1, *inside, lane, *channels)
    rest = order[order.index("acc") + 1 :]
    epilogue = [n for n in rest if not n.startswith("crop_")]
    for name in epilogue:
        sch.reverse_compute_at(sch.get_sblock(name), w0, preserve_unit_loops=True)
    if not on_bytes:
        sch.vectorize(lane)
    blocks.unroll(sch, [h1, w1, o1, *inside])
    for name in epilogue:
        schedule_tile_stage(sch, name)
    outer = parallel_tiles(sch, [b, g, *rows], w0, choice, cores, scratch)
    fuse_taps(sch, kh, kw, c, choice.taps)
    unroll_taps(sch, acc, choice.unroll, len([h1, w1, o1, *inside, lane, *channels]))
    # Splitting a reduction leaves blocks that other primitives refuse, so it comes last.
    reduction = outer + len(around)
    init = sch.decompose_reduction(acc, sch.get_loops(acc)[reduction])
    *cleared, lanes = sch.get_loops(init)[reduction:]
    blocks.unroll(sch, cleared)
    if on_bytes:
        sch.vectorize(lanes)
    for name in epilogue:
        finish_tile_stage(sch, name, outer)
    schedule_rest(sch, [n for n in order if n == "pad" or n.startswith("crop_")])
    table = {**INSTRUCTIONS, "acc_update": dot} if on_bytes and dot else INSTRUCTIONS
    return lower_lanes(sch.mod["main"], table)


def split_planes(planes: list[Any], tile: Tile) -> tuple[list[Any], list[Any]]:
    """The loops over planes that go round the reduction, and those inside it."""
    if not planes:  # floats
        return [], []
    m, p = planes
    around = {"inside": [], "weights": [m], "activations": [p], "outside": [m, p]}[tile.planes]
    return around, [loop for loop in (m, p) if not any(loop.same_as(a) for a in around)]


def parallel_tiles(
    sch: s_tir.Schedule, rows: list[Any], column: Any, choice: Choice, cores: int, scratch: int
) -> int:
    """Run rows of tiles in parallel, or single tiles; returns how many loops are round a tile."""
    if choice.cut == "columns":
        return blocks.parallel(sch, [*rows, column], cores, scratch, choice.tasks)
    return blocks.parallel(sch, rows, cores, scratch, choice.tasks) + 1


def unroll_taps(sch: s_tir.Schedule, acc: Any, steps: int, inside: int) -> None:
    """Unroll the innermost reduction loop of ``acc``, which has ``inside`` loops in it.

    Not where ``steps`` do not divide it: the rest would be a test in every step.
    """
    taps = sch.get_loops(acc)[-1 - inside]
    extent = blocks.extent(sch, taps)
    if steps == 1 or extent is None or extent % steps:
        return
    _, inner = sch.split(taps, [None, steps])
    sch.unroll(inner)


def fuse_taps(sch: s_tir.Schedule, kh: Any, kw: Any, c: Any, taps: Taps = "auto") -> None:
    """Fuse reduction loops.

    "column" fuses ``kh, kw``; "row" fuses ``kw, c``; "all" all three; "none" nothing; "auto" is
    "column" for one or two words a pixel, else "row".

    LLVM unrolls a short loop nest completely, adds the counts of several taps together before
    it adds them to the accumulators, and then spills. One longer loop is left alone.
    """
    if taps == "none":
        return
    if taps == "all":
        sch.fuse(kh, kw, c)
        return
    words = blocks.extent(sch, c)
    short = words is not None and words <= 2
    if taps == "column" or (taps == "auto" and short):
        sch.fuse(kh, kw)
        return
    sch.fuse(kw, c)


def schedule_tile_stage(sch: s_tir.Schedule, name: str) -> None:
    """Unroll and vectorise one stage of the epilogue, already placed in the tile."""
    inner = sch.get_loops(sch.get_sblock(name))[OUTER:]
    if name.startswith("pack_"):
        blocks.unroll(sch, inner[:-1])
    elif is_sum(name):
        lane, m, p = inner[-3:]
        sch.reorder(m, p, lane)
        sch.vectorize(lane)
        blocks.unroll(sch, [*inner[:-3], m, p])
    elif name.startswith("word_"):
        blocks.unroll(sch, inner)
    else:
        sch.vectorize(inner[-1])
        blocks.unroll(sch, inner[:-1])


def finish_tile_stage(sch: s_tir.Schedule, name: str, outer: int) -> None:
    """Split the reductions of the epilogue and put the instructions in."""
    block = sch.get_sblock(name)
    if is_sum(name):
        m = sch.get_loops(block)[-3]
        start = sch.decompose_reduction(block, m)
        blocks.unroll(sch, sch.get_loops(start)[outer:-1])


def is_sum(name: str) -> bool:
    """Whether a block is a :func:`abc_tvm.compute.accumulate.combine`: ``sum``, ``sum_1``, ..."""
    return name == "sum" or (name.startswith("sum_") and name[4:].isdigit())
