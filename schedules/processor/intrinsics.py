"""Blocks that become instructions: 32 lanes at once instead of a loop over lanes.

:func:`lower_lanes` runs after a schedule. It replaces the innermost loop over lanes of certain
reductions by vector loads, one expression, and a store. (``tensorize`` would do the same, but it
refuses blocks with a guard, which tiles that do not divide the output have.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tvm import s_tir, tirx

from abc_tvm.compute.int8_products import DOT
from abc_tvm.compute.roles import Role
from abc_tvm.schedules.blocks import role_of
from abc_tvm.schedules.statements import with_body, with_inner

LANES = 32
"""Output channels in one block of lanes."""

Instruction = Callable[[tirx.BufferStore], tirx.Stmt]
"""From the store of one lane to the statement for all lanes."""

Emit = Callable[[s_tir.SBlock], tirx.Stmt]
"""From a block to the statement that computes all of it."""


def pack(store: tirx.BufferStore) -> tirx.Stmt:
    """``word[...] += truth[..., lane] << lane`` over all lanes: 32 truth values to a word.

    ``reinterpret`` of a vector of booleans compiles to ``kmovd`` on AVX-512, ``vpmovmskb`` on
    AVX2 and a masked ``addv`` on AArch64.
    """
    flags = store.value.b.a.value  # old + (cast(truth) << cast(lane))
    truth = all_lanes(flags) != tirx.Broadcast(tirx.const(0, flags.source.dtype), LANES)
    word = tirx.call_intrin(str(store.buffer.dtype), "tirx.reinterpret", truth)
    return tirx.BufferStore(store.buffer, word, store.indices)


def all_lanes(load: tirx.BufferLoad) -> tirx.BufferLoad:
    """The load of one lane (its last index) as a load of all 32."""
    return tirx.BufferLoad(load.source, [*load.indices[:-1], _ramp(load.indices[-1])])


def ramp(index: tirx.Expr, first: int, count: int) -> tirx.Ramp:
    """``count`` indices from ``first`` on, of the type of ``index``."""
    return tirx.Ramp(tirx.const(first, index.ty.dtype), _one(index), count)


def _ramp(lane: tirx.Expr) -> tirx.Ramp:
    return ramp(lane, 0, LANES)


def _one(index: tirx.Expr) -> tirx.IntImm:
    return tirx.const(1, index.ty.dtype)


INSTRUCTIONS: dict[Role, Instruction] = {"pack": pack}
"""By the block's role: what every processor has."""


def lower_lanes(
    func: tirx.PrimFunc,
    instructions: Mapping[Role, Instruction] = INSTRUCTIONS,
    whole: Mapping[Role, Emit] | None = None,
) -> tirx.PrimFunc:
    """``func``, scheduled, with the loops over lanes of reductions of known roles as instructions.

    ``whole`` gives the body of whole blocks, by their role.
    """
    return func.with_body(_visit(func.body, _Tables(instructions, whole or {})))


class _Tables(NamedTuple):
    lanes: Mapping[Role, Instruction]
    whole: Mapping[Role, Emit]


def _visit(stmt: tirx.Stmt, tables: _Tables) -> tirx.Stmt:
    if isinstance(stmt, tirx.For):
        lowered = _lower(stmt, tables)
        if lowered is not None:
            return lowered
    if isinstance(stmt, s_tir.SBlockRealize):
        role = role_of(stmt.block)
        if role is not None and role in tables.whole:
            body = with_body(stmt.block, tables.whole[role](stmt.block), None)
            return s_tir.SBlockRealize(stmt.iter_values, stmt.predicate, body)
    return with_inner(stmt, lambda inner: _visit(inner, tables))


def _lower(loop: tirx.For, tables: _Tables) -> tirx.For | None:
    """The instruction in place of ``loop``, where it is the loop over lanes of a known reduction.

    A dot product has one more loop inside, over the channels that it sums.
    """
    inner = loop.body
    if isinstance(inner, tirx.For) and isinstance(inner.body, s_tir.SBlockRealize):
        if DOT not in inner.body.block.annotations:
            return None
        first = _lower(inner, tables)
        return None if first is None else _first_turn(loop, first)
    if not isinstance(inner, s_tir.SBlockRealize):
        return None
    block = inner.block
    role = role_of(block)
    if role is None or role not in tables.lanes or not isinstance(block.body, tirx.BufferStore):
        return None
    if all(int(var.iter_type) != tirx.IterVar.CommReduce for var in block.iter_vars):
        return None  # what clears the sums has their role
    lowered = with_body(block, tables.lanes[role](block.body), None)
    return _first_turn(loop, s_tir.SBlockRealize(inner.iter_values, inner.predicate, lowered))


def _first_turn(loop: tirx.For, body: tirx.Stmt) -> tirx.For:
    """``loop`` over the first lane alone: every index in it is that of the first lane."""
    return tirx.For(loop.loop_var, loop.min, _one(loop.loop_var), tirx.ForKind.SERIAL, body)
