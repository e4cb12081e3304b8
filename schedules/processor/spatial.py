"""Schedules of blocks without a register tile: padding, cropping, element-wise kernels."""

from __future__ import annotations

from typing import Any

from tvm import DataType, s_tir, tirx

from abc_tvm.compute.accumulate import IMAGE
from abc_tvm.schedules import blocks

VECTOR = 16
"""Lanes of one vector of a copy; the code generator cuts it to what the machine has."""

PARALLEL_BYTES = 1 << 18
"""A copy below this size is faster in the caller's thread than handed to the thread pool."""


def schedule_rest(sch: s_tir.Schedule, names: list[str]) -> None:
    """Copies and element-wise blocks: rows in parallel where it pays, vectors inside.

    Call it last: a ``pad`` is cut into border and image, and other primitives refuse the pieces.
    """
    for name in names:
        block = sch.get_sblock(name)
        loops = sch.get_loops(block)
        if len(loops) > 2:
            rows = sch.fuse(*loops[:2])
            if _bytes_written(sch, block) >= PARALLEL_BYTES:
                sch.parallel(rows)
        if IMAGE in sch.get(block).annotations:
            _split_border(sch, block, sch.fuse(*loops[2:]))
        elif not name.startswith("crop_"):
            _vectorise(sch, loops[-1])


def _vectorise(sch: s_tir.Schedule, inner: Any) -> None:
    width = blocks.extent(sch, inner)
    if width is not None and 1 < width <= VECTOR:
        sch.vectorize(inner)
    elif width is not None and width % VECTOR == 0:
        _, lanes = sch.split(inner, [None, VECTOR])
        sch.vectorize(lanes)


def _split_border(sch: s_tir.Schedule, block: Any, row: Any) -> None:
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


def _bytes_written(sch: s_tir.Schedule, block: Any) -> int:
    """Size of the buffer that ``block`` fills; symbolic extents count as 1."""
    buffer = sch.get(block).writes[0].source
    size = int(DataType(buffer.dtype).itemsize)
    for extent in buffer.shape:
        size *= int(extent) if isinstance(extent, tirx.IntImm) else 1
    return size
