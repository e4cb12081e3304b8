"""What a thread does with its sums: a slot is eight neighbouring channels of one pixel.

The blocks of the TE computation keep their bodies; what changes is the loops around them and where
their results live. Buffers stay declared in full: TVM's CompactBufferAllocation shrinks them to the
eight channels of one slot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import s_tir, tirx

from abc_tvm.compute.geometry import WORD
from abc_tvm.compute.int8_products import QUAD
from abc_tvm.compute.roles import Role
from abc_tvm.schedules.blocks import role_of

from .source import library
from .statements import address_at, call, loop, realize
from .tiles import OWN

NEIGHBOURS = 4
"""Lanes that share the 32 channels of a pixel's lane block."""


@dataclass(frozen=True)
class Slot:
    """Where one slot lies: its pixel, lane block and first channel of eight, and if it is there."""

    head: list[tirx.Expr]
    group: tirx.Expr
    block: tirx.Expr
    first: tirx.Expr
    valid: tirx.Expr

    def computed(self, block: s_tir.SBlock, inner: bool) -> tirx.Stmt:
        """A block behind the sums at this slot; ``inner``: nothing outside the kernel reads it."""
        role = role_of(block)
        if role in STORED:
            return STORED[role](self, block)
        return stage(self, block, None if inner else self.valid)


def copied(
    slot: Slot,
    target: tirx.Buffer,
    sums: tirx.Buffer,
    at: tuple[tirx.Expr, tirx.Expr],
    planes: tuple[int, ...],
) -> tirx.Stmt:
    """The reduction's own block: its values, in ``sums`` at ``at`` for this slot, are there."""
    m, p = (tirx.Var(name, "int32") for name in "mp")
    lane = tirx.Var("l", "int32")
    inner = [m, p] if len(target.shape) == 8 else []
    load = tirx.BufferLoad(sums, [*at, m, p, lane])
    place = [*slot.head, slot.group, slot.block, *inner, slot.first + lane]
    body = loop(lane, OWN, tirx.BufferStore(target, load, place))
    return loop(m, planes[0], loop(p, planes[1], body))


def stage(slot: Slot, block: s_tir.SBlock, guard: tirx.Expr | None) -> tirx.Stmt:
    """A block over (b, h, w, g, o, l), perhaps with a sum over planes."""
    lane = tirx.Var("l", "int32")
    reduced = [v for v in block.iter_vars if int(v.iter_type) != tirx.IterVar.DataPar]
    loops = [(tirx.Var(str(v.var.name), "int32"), int(v.dom.extent)) for v in reduced]
    values = [*slot.head, slot.group, slot.block, slot.first + lane]
    body = realize(block, [*values, *(var for var, _ in loops)], guard)
    for var, extent in reversed(loops):
        body = loop(var, extent, body)
    return loop(lane, OWN, body)


def truth(slot: Slot, block: s_tir.SBlock) -> tirx.Stmt:
    """Truth values of every plane."""
    lane, plane = tirx.Var("l", "int32"), tirx.Var("plane", "int32")
    values = [*slot.head, plane, slot.group, slot.block, slot.first + lane]
    planes = int(block.writes[0].source.shape[3])
    return loop(plane, planes, loop(lane, OWN, realize(block, values, None)))


def pack(slot: Slot, block: s_tir.SBlock) -> tirx.Stmt:
    """Words of every plane: eight bits of this lane, and those of its neighbours."""
    bits = next(r.source for r in block.reads if len(r.source.shape) == 7)
    target, plane = block.writes[0].source, tirx.Var("plane", "int32")
    head = [*slot.head, plane, slot.group, slot.block]
    mine = tirx.const(0, "uint32")
    for n in range(OWN):
        bit = tirx.Cast("uint32", tirx.BufferLoad(bits, [*head, slot.first + n]))
        mine = mine | (bit << tirx.const(n, "uint32"))
    mine = mine << tirx.Cast("uint32", slot.first)
    word = call("abc_quad_or", library("slot"), "uint32", mine)
    return loop(plane, int(target.shape[3]), tirx.BufferStore(target, word, head))


def word(slot: Slot, block: s_tir.SBlock) -> tirx.Stmt:
    """Stores a word of each plane, another lane of four for each."""
    plane = tirx.Var("plane", "int32")
    mine = tirx.EQ(tirx.floordiv(slot.first, OWN), tirx.floormod(plane, NEIGHBOURS))
    values = [*slot.head, plane, slot.group, slot.block]
    planes = int(block.writes[0].source.shape[3])
    return loop(plane, planes, realize(block, values, tirx.And(slot.valid, mine)))


def code(slot: Slot, block: s_tir.SBlock) -> tirx.Stmt:
    """Stores the bytes of this lane's channels at once."""
    value = next(r.source for r in block.reads if len(r.source.shape) == 6)
    head = [*slot.head, slot.group, slot.block]
    halves = []
    for half in range(0, OWN, QUAD):
        four = tirx.const(0, "uint32")
        for n in range(QUAD):
            load = tirx.BufferLoad(value, [*head, slot.first + (half + n)])
            byte = tirx.Cast("uint32", load) & tirx.const(0xFF, "uint32")
            four = four | (byte << tirx.const(8 * n, "uint32"))
        halves.append(four)
    to = address_at(block.writes[0].source, [*head, slot.first])
    store = call("abc_store8", library("slot"), "void", to, *halves)
    return tirx.IfThenElse(slot.valid, tirx.Evaluate(store), None)


def crop(slot: Slot, block: s_tir.SBlock) -> tirx.Stmt:
    """Stores the channels of a group that are no multiple of a lane block."""
    wide = next(r.source for r in block.reads if len(r.source.shape) == 6)
    target, lane = block.writes[0].source, tirx.Var("l", "int32")
    per_group = int(target.shape[3]) // int(wide.shape[3])
    within = slot.block * WORD + slot.first + lane
    load = tirx.BufferLoad(wide, [*slot.head, slot.group, slot.block, slot.first + lane])
    store = tirx.BufferStore(target, load, [*slot.head, slot.group * per_group + within])
    there = tirx.And(slot.valid, within < per_group)
    return loop(lane, OWN, tirx.IfThenElse(there, store, None))


STORED: dict[Role, Callable[[Slot, s_tir.SBlock], tirx.Stmt]] = {
    "truth": truth,
    "pack": pack,
    "word": word,
    "code": code,
    "crop": crop,
}
"""Blocks that are more than one value of each slot."""
