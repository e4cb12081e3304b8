"""Statements of functions, scheduled or lowered, rebuilt around what is inside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tvm import s_tir, tirx

from abc_tvm.compute.roles import ROLE


def with_inner(stmt: tirx.Stmt, inner: Callable[[tirx.Stmt], tirx.Stmt]) -> tirx.Stmt:
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
    if isinstance(stmt, s_tir.SBlockRealize):
        block = stmt.block
        init = None if block.init is None else inner(block.init)
        made = with_body(block, inner(block.body), init)
        return s_tir.SBlockRealize(stmt.iter_values, stmt.predicate, made)
    if isinstance(stmt, tirx.AttrStmt):
        return tirx.AttrStmt(stmt.node, stmt.attr_key, stmt.value, inner(stmt.body))
    if isinstance(stmt, tirx.IfThenElse):
        other = None if stmt.else_case is None else inner(stmt.else_case)
        return tirx.IfThenElse(stmt.condition, inner(stmt.then_case), other)
    if isinstance(stmt, tirx.While):
        return tirx.While(stmt.condition, inner(stmt.body))
    return stmt


def with_body(
    block: s_tir.SBlock,
    body: tirx.Stmt,
    init: tirx.Stmt | None,
    annotations: Mapping[str, object] | None = None,
) -> s_tir.SBlock:
    """``block`` with another body, and with other annotations where they are given."""
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        body,
        init,
        block.alloc_buffers,
        block.match_buffers,
        block.annotations if annotations is None else annotations,
    )


def without_roles(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` as it is compiled and recorded: its blocks have no roles any more.

    Other annotations say what is computed, and stay: records know kernels by them.
    """
    return func.with_body(_bare(func.body))


def _bare(stmt: tirx.Stmt) -> tirx.Stmt:
    made = with_inner(stmt, _bare)
    if not isinstance(made, s_tir.SBlockRealize) or ROLE not in made.block.annotations:
        return made
    block = made.block
    others = {key: value for key, value in block.annotations.items() if str(key) != ROLE}
    bare = with_body(block, block.body, block.init, others)
    return s_tir.SBlockRealize(made.iter_values, made.predicate, bare)
