"""Schedules of copies, before and after the tiles: a border round the input, channels cropped."""

from __future__ import annotations

from tvm import DataType, s_tir, tirx
from tvm.s_tir.schedule import LoopRV, SBlockRV

from abc_tvm.compute.accumulate import IMAGE
from abc_tvm.schedules import blocks

PARALLEL_BYTES = 1 << 18
"""A copy below this size is faster in the caller's thread than handed to the thread pool."""


def schedule_copies(sch: s_tir.Schedule, copies: list[SBlockRV]) -> None:
    """Copies without a test per element: rows in parallel where it pays.

    Call it last: a border is cut from its image, and other primitives refuse the pieces.
    """
    for block in copies:
        loops = sch.get_loops(block)
        if len(loops) > 2:
            rows = sch.fuse(*loops[:2])
            if _bytes_written(sch, block) >= PARALLEL_BYTES:
                sch.parallel(rows)
        if IMAGE in sch.get(block).annotations:
            _split_border(sch, block, sch.fuse(*loops[2:]))


def _split_border(sch: s_tir.Schedule, block: SBlockRV, row: LoopRV) -> None:
    """Cut a padded row into left border, image and right border.

    Each piece is then a run of contiguous elements without a test per element, which becomes a
    block copy or a block fill.
    """
    left, width = (int(v) for v in sch.get(block).annotations[IMAGE])
    total = blocks.extent(sch, row)
    columns = int(sch.get(block).writes[0].source.shape[2])
    if total is None:
        return
    per_column = total // columns
    cuts = [n * per_column for n in (left, width) if n]
    if sum(cuts) == total:
        cuts.pop()
    if cuts:
        sch.loop_partition(row, cuts, preserve_unit_iters=True)


def _bytes_written(sch: s_tir.Schedule, block: SBlockRV) -> int:
    """Size of the buffer that ``block`` fills; symbolic extents count as 1."""
    buffer = sch.get(block).writes[0].source
    size = int(DataType(buffer.dtype).itemsize)
    for extent in buffer.shape:
        size *= int(extent) if isinstance(extent, tirx.IntImm) else 1
    return size
