"""Pieces of TIR that a CUDA program is put together from."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx


def address(buffer: Any) -> Any:
    """Of the first element."""
    return address_at(buffer, [tirx.const(0, "int32")] * len(buffer.shape))


def address_at(buffer: Any, indices: list[Any]) -> Any:
    """Of the element at ``indices``."""
    return tirx.address_of(tirx.BufferLoad(buffer, indices))


def blocks_of(stmt: Any) -> list[Any]:
    """The blocks of a computation in order."""
    if isinstance(stmt, tirx.SeqStmt):
        return [block for part in stmt.seq for block in blocks_of(part)]
    if isinstance(stmt, tirx.For):
        return blocks_of(stmt.body)
    return [stmt.block]


def loop(var: Any, extent: int, body: Any) -> Any:
    """An unrolled loop."""
    kind = tirx.ForKind.UNROLLED
    return tirx.For(var, tirx.const(0, "int32"), tirx.const(extent, "int32"), kind, body)


def bound(var: Any, extent: Any, tag: str, body: Any) -> Any:
    """A loop whose iterations are threads."""
    axis = tirx.IterVar(None, tirx.Var(tag, "int32"), tirx.IterVar.ThreadIndex, tag)
    kind = tirx.ForKind.THREAD_BINDING
    return tirx.For(var, tirx.const(0, "int32"), extent, kind, body, axis)


def scope(name: str, body: Any, buffers: list[Any] | None = None) -> Any:
    """A block of its own, with its buffers."""
    block = s_tir.SBlock([], [], [], name, body, None, buffers or [])
    return s_tir.SBlockRealize([], tirx.const(1, "bool"), block)


def realize(block: Any, values: list[Any], guard: Any) -> Any:
    """A block at these values of its variables, where ``guard`` holds."""
    return s_tir.SBlockRealize(values, tirx.const(1, "bool") if guard is None else guard, block)


def call(name: str, source: str, result: str, *arguments: Any) -> Any:
    """A call of a CUDA function, whose ``source`` travels with it."""
    return tirx.call_intrin(result, "tirx.cuda.func_call", name, *arguments, source)
