"""The loop nest of pooling on bits and on bytes between two layers: one pass over the image.

::

    for b, h (parallel), w:                  # Tile.columns of w unrolled
        for g, o0:
            joined: n planes (unrolled) x a vector of words or bytes, in registers
            coded: the planes that the next layer wants (unrolled) x the same vector

A pass for the window and one for the code, over loops that go through the thread pool, took five
times as long on one thread, and 20 to 50 times on two: a small image is done before another thread
has begun (28x28x64, 2x2: 0.5 and 3.8 us, now 0.1; Emerald Rapids).
"""

from __future__ import annotations

from tvm import DataType, s_tir, tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.problem import Problem

from .spatial import PARALLEL_BYTES

VECTOR_BYTES = 64
"""Bytes of one vector at ``Tile.parts`` 1; the code generator cuts it to what the machine has."""

COLUMNS = (1, 2, 4, 8)
PARTS = (1, 2, 4)


def default_pool(problem: Problem) -> Choice:
    """What is compiled where nothing is recorded.

    Columns that divide a row need no test for its end.
    """
    window, slots = problem.window, problem.blocking.slots
    columns = next(n for n in (8, 4, 2, 1) if window.out_width % n == 0)
    slot = slots if problem.kind == "pool_int8" else slots // 8
    batch = window.batch if isinstance(window.batch, int) else 1
    pixels = batch * window.out_height * window.out_width
    small = pixels * window.taps * problem.pairs * slot < PARALLEL_BYTES
    return Choice(Tile(columns=columns), cut="none" if small else "rows")


def schedule_pool(func: tirx.PrimFunc, choice: Choice) -> tirx.PrimFunc:
    """Schedule a pooling kernel: its last block codes what the first one joins.

    Of ``choice`` the columns, the parts and the cut matter.
    """
    sch = s_tir.Schedule(func)
    *joined, coded = blocks.all_of(sch)
    bytes_each = int(DataType(func.params[0].dtype).itemsize)
    most = VECTOR_BYTES // bytes_each // choice.tile.parts
    b, h, w, *planes, g, o = sch.get_loops(coded)
    w, column = sch.split(w, [None, choice.tile.columns])
    lanes = _lanes(blocks.extent(sch, o) or 1, most)
    o, lane = sch.split(o, [None, lanes])
    sch.reorder(b, h, w, column, g, o, *planes, lane)
    for block in joined:
        sch.compute_at(block, o, preserve_unit_loops=True)
        *own, vector = sch.get_loops(block)[6:]
        blocks.unroll(sch, own)
        # Bits that are picked one by one have no vector: LLVM would write out every read.
        if lanes > 1 and blocks.role_of(sch.get(block)) != "bit":
            sch.vectorize(vector)
    blocks.unroll(sch, [column, *planes])
    if lanes > 1:
        sch.vectorize(lane)
    if choice.cut != "none":
        sch.parallel(sch.fuse(b, h, w) if choice.cut == "columns" else sch.fuse(b, h))
    return sch.mod["main"]


def _lanes(extent: int, most: int) -> int:
    """The longest vector that divides the words or bytes of a pixel."""
    while extent % most:
        most //= 2
    return most
