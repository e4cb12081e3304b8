"""Pieces of TIR that a CUDA program is put together from."""

from __future__ import annotations

from tvm import s_tir, tirx

from abc_tvm.compute.geometry import Dim


def address(buffer: tirx.Buffer) -> tirx.Expr:
    """Of the first element."""
    return address_at(buffer, [tirx.const(0, "int32")] * len(buffer.shape))


def address_at(buffer: tirx.Buffer, indices: list[tirx.Expr]) -> tirx.Expr:
    """Of the element at ``indices``."""
    return tirx.address_of(tirx.BufferLoad(buffer, indices))


def loop(var: tirx.Var, extent: int, body: tirx.Stmt) -> tirx.Stmt:
    """An unrolled loop."""
    kind = tirx.ForKind.UNROLLED
    return tirx.For(var, tirx.const(0, "int32"), tirx.const(extent, "int32"), kind, body)


def bound(var: tirx.Var, extent: Dim, tag: str, body: tirx.Stmt) -> tirx.Stmt:
    """A loop whose iterations are threads."""
    axis = tirx.IterVar(None, tirx.Var(tag, "int32"), tirx.IterVar.ThreadIndex, tag)
    kind = tirx.ForKind.THREAD_BINDING
    return tirx.For(var, tirx.const(0, "int32"), extent, kind, body, axis)


def scope(name: str, body: tirx.Stmt, buffers: list[tirx.Buffer] | None = None) -> tirx.Stmt:
    """A block of its own, with its buffers."""
    block = s_tir.SBlock([], [], [], name, body, None, buffers or [])
    return s_tir.SBlockRealize([], tirx.const(1, "bool"), block)


def realize(block: s_tir.SBlock, values: list[tirx.Expr], guard: tirx.Expr | None) -> tirx.Stmt:
    """A block at these values of its variables, where ``guard`` holds."""
    return s_tir.SBlockRealize(values, tirx.const(1, "bool") if guard is None else guard, block)


def call(name: str, source: str, result: str, *arguments: tirx.Expr) -> tirx.Expr:
    """A call of a CUDA function, whose ``source`` travels with it."""
    return tirx.call_intrin(result, "tirx.cuda.func_call", name, *arguments, source)
