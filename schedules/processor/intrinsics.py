"""Blocks that become instructions: 32 lanes at once instead of a loop over lanes.

:func:`lower_lanes` runs after a schedule. It replaces the innermost loop over lanes of certain
blocks by vector loads, one expression, and a store. (``tensorize`` would do the same, but it
refuses blocks with a guard, which tiles that do not divide the output have.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tvm import s_tir, tirx

from abc_tvm.compute.byte_products import DOT

LANES = 32
"""Output channels in one block of lanes."""

Instruction = Callable[[Any], Any]
"""From the store of one lane (a ``BufferStore``) to the statement for all lanes."""


def pack(store: Any) -> Any:
    """``word[...] += truth[..., lane] << lane`` over all lanes: 32 truth values to a word.

    ``reinterpret`` of a vector of booleans compiles to ``kmovd`` on AVX-512, ``vpmovmskb`` on
    AVX2 and a masked ``addv`` on AArch64.
    """
    flags = store.value.b.a.value  # old + (cast(truth) << cast(lane))
    truth = all_lanes(flags) != tirx.Broadcast(tirx.const(0, flags.source.dtype), LANES)
    word = tirx.call_intrin(str(store.buffer.dtype), "tirx.reinterpret", truth)
    return tirx.BufferStore(store.buffer, word, store.indices)


def all_lanes(load: Any) -> Any:
    """The load of one lane (its last index) as a load of all 32."""
    return tirx.BufferLoad(load.source, [*load.indices[:-1], _ramp(load.indices[-1])])


def ramp(index: Any, first: int, count: int) -> Any:
    """``count`` indices from ``first`` on, of the type of ``index``."""
    return tirx.Ramp(tirx.const(first, index.ty.dtype), _one(index), count)


def _ramp(lane: Any) -> Any:
    return ramp(lane, 0, LANES)


def _one(index: Any) -> Any:
    return tirx.const(1, index.ty.dtype)


INSTRUCTIONS: dict[str, Instruction] = {"pack_": pack}
"""By the beginning of the block's name: what every processor has."""


def lower_lanes(
    func: Any,
    instructions: Mapping[str, Instruction] = INSTRUCTIONS,
    blocks: Mapping[str, Instruction] | None = None,
) -> Any:
    """``func``, a scheduled PrimFunc, with the loops over lanes of known blocks as instructions.

    ``blocks`` gives the body of whole blocks, by their names: from the block to the statement.
    """
    return func.with_body(_visit(func.body, _Tables(instructions, blocks or {})))


class _Tables(NamedTuple):
    lanes: Mapping[str, Instruction]
    blocks: Mapping[str, Instruction]


def _visit(stmt: Any, table: _Tables) -> Any:
    if isinstance(stmt, tirx.SeqStmt):
        return tirx.SeqStmt([_visit(part, table) for part in stmt.seq])
    if isinstance(stmt, tirx.For):
        lowered = _lower(stmt, table)
        if lowered is not None:
            return lowered
        return tirx.For(
            stmt.loop_var,
            stmt.min,
            stmt.extent,
            stmt.kind,
            _visit(stmt.body, table),
            stmt.thread_binding,
            stmt.annotations,
            stmt.step,
        )
    if isinstance(stmt, s_tir.SBlockRealize):
        whole = table.blocks.get(str(stmt.block.name_hint))
        if whole is not None:
            body = _with_body(stmt.block, whole(stmt.block), None)
            return s_tir.SBlockRealize(stmt.iter_values, stmt.predicate, body)
        block = _with_body(stmt.block, _visit(stmt.block.body, table), stmt.block.init)
        return s_tir.SBlockRealize(stmt.iter_values, stmt.predicate, block)
    return stmt


def _lower(loop: Any, table: _Tables) -> Any:
    """The instruction in place of ``loop``, where it is the loop over lanes of a known block.

    A dot product has one more loop inside, over the channels that it sums.
    """
    inner = loop.body
    if isinstance(inner, tirx.For) and isinstance(inner.body, s_tir.SBlockRealize):
        if DOT not in inner.body.block.annotations:
            return None
        first = _lower(inner, table)
        return None if first is None else _first_turn(loop, first)
    if not isinstance(inner, s_tir.SBlockRealize):
        return None
    block = inner.block
    emit = next((f for n, f in table.lanes.items() if block.name_hint.startswith(n)), None)
    if emit is None or not isinstance(block.body, tirx.BufferStore):
        return None
    lowered = _with_body(block, emit(block.body), None)
    realize = s_tir.SBlockRealize(inner.iter_values, inner.predicate, lowered)
    return _first_turn(loop, realize)


def _first_turn(loop: Any, body: Any) -> Any:
    """``loop`` over the first lane alone: every index in it is that of the first lane."""
    return tirx.For(loop.loop_var, loop.min, _one(loop.loop_var), tirx.ForKind.SERIAL, body)


def _with_body(block: Any, body: Any, init: Any) -> Any:
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        body,
        init,
        block.alloc_buffers,
        block.match_buffers,
        block.annotations,
    )
