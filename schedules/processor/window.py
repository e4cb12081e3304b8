"""The loop nest of every convolution: lanes over output channels, a tile of accumulators.

::

    for m, p (those of Tile.planes), part of the lanes:
        for kh, kw, c:                   # reduction outside the unrolled tile
            for h1, w1, o1, m, p:        # unrolled: accumulators stay in registers
                for lane (vector): acc += f(activation (broadcast), weights)

The same nest serves bits (``popcount`` of ``xor``), floats and bytes (products).
"""

from __future__ import annotations

from tvm import s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice, Taps

from .intrinsics import INSTRUCTIONS, Instruction
from .skeleton import Skeleton


def schedule_window(
    func: tirx.PrimFunc, choice: Choice, *, cores: int = 4, dot: Instruction | None = None
) -> tirx.PrimFunc:
    """Schedule a fused convolution made by :mod:`abc_tvm.compute`.

    ``dot`` is the dot product of bytes, for sums that have a loop over its four channels.
    """
    nest = Skeleton(func, choice, cores)
    sch, tile, lane = nest.sch, choice.tile, nest.lane
    kh, kw, c, *channels = nest.taps
    around, inside = split_planes(nest.planes, tile)
    if tile.parts > 1:
        part, lane = sch.split(lane, [tile.parts, None])
        around.append(part)
    held = [*nest.tile, *inside]
    nest.order([*around, kh, kw, c, *held, lane, *channels])
    if not channels:
        sch.vectorize(lane)
    blocks.unroll(sch, held)
    outer = nest.around()
    fuse_taps(sch, kh, kw, c, choice.taps)
    unroll_taps(sch, nest.block, choice.unroll, len([*held, lane, *channels]))
    # Splitting a reduction leaves blocks that other primitives refuse, so it comes last.
    reduction = outer + len(around)
    init = sch.decompose_reduction(nest.block, sch.get_loops(nest.block)[reduction])
    *cleared, lanes = sch.get_loops(init)[reduction:]
    blocks.unroll(sch, cleared)
    if channels:
        sch.vectorize(lanes)
    return nest.finish({**INSTRUCTIONS, "sums": dot} if channels and dot else INSTRUCTIONS)


def split_planes(planes: list[LoopRV], tile: Tile) -> tuple[list[LoopRV], list[LoopRV]]:
    """The loops over planes that go round the reduction, and those inside it."""
    if not planes:  # floats
        return [], []
    m, p = planes
    around = {"inside": [], "weights": [m], "activations": [p], "outside": [m, p]}[tile.planes]
    return around, [loop for loop in (m, p) if not any(loop.same_as(a) for a in around)]


def unroll_taps(sch: s_tir.Schedule, sums: SBlockRV, steps: int, inside: int) -> None:
    """Unroll the innermost reduction loop of ``sums``, which has ``inside`` loops in it.

    Not where ``steps`` do not divide it: the rest would be a test in every step.
    """
    taps = sch.get_loops(sums)[-1 - inside]
    extent = blocks.extent(sch, taps)
    if steps == 1 or extent is None or extent % steps:
        return
    _, inner = sch.split(taps, [None, steps])
    sch.unroll(inner)


def fuse_taps(sch: s_tir.Schedule, kh: LoopRV, kw: LoopRV, c: LoopRV, taps: Taps = "auto") -> None:
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
