"""Statements of lowered kernels, rebuilt around what is inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx


def with_inner(stmt: Any, inner: Callable[[Any], Any]) -> Any:
    """``stmt`` with ``inner`` of each statement directly inside it; others are returned as is."""
    if isinstance(stmt, tirx.SeqStmt):
        return tirx.SeqStmt([inner(part) for part in stmt.seq])
    if isinstance(stmt, tirx.For):
        return tirx.For(
            stmt.loop_var,
            stmt.min,
            stmt.extent,
            stmt.kind,
            inner(stmt.body),
            stmt.thread_binding,
            stmt.annotations,
            stmt.step,
        )
    if isinstance(stmt, tirx.AttrStmt):
        return tirx.AttrStmt(stmt.node, stmt.attr_key, stmt.value, inner(stmt.body))
    if isinstance(stmt, tirx.IfThenElse):
        other = None if stmt.else_case is None else inner(stmt.else_case)
        return tirx.IfThenElse(stmt.condition, inner(stmt.then_case), other)
    if isinstance(stmt, tirx.While):
        return tirx.While(stmt.condition, inner(stmt.body))
    return stmt


def buffer_bytes(buffer: Any) -> int | None:
    """Size of a flat buffer; ``None`` where it is symbolic."""
    from tvm import DataType

    if not all(isinstance(extent, tirx.IntImm) for extent in buffer.shape):
        return None
    kind = DataType(str(buffer.dtype).rpartition(".")[2])
    total = kind.bits * kind.lanes
    for extent in buffer.shape:
        total *= int(extent)
    return total // 8
