"""What lowered kernels say of their buffers."""

from __future__ import annotations

from tvm import tirx


def buffer_bytes(buffer: tirx.Buffer) -> int | None:
    """Size of a flat buffer; ``None`` where it is symbolic."""
    from tvm import DataType

    if not all(isinstance(extent, tirx.IntImm) for extent in buffer.shape):
        return None
    kind = DataType(str(buffer.dtype).rpartition(".")[2])
    total = kind.bits * kind.lanes
    for extent in buffer.shape:
        total *= int(extent)
    return total // 8
