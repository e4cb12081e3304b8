"""Moves of levels, of bits and of codes: one kernel for everything that Reshape, Transpose, Concat,
Slice, Resize and their like do between steps and a layer.

Where words of bits stay whole they are moved as words; else each bit is taken for itself. Kernels
of their own, scheduled as poolings of windows of one element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.roles import notes
from abc_tvm.relay_passes.analysis.moves.move import OUTSIDE, Move
from abc_tvm.relay_passes.emit.anchor import Pooling
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.ops import moved_shape
from abc_tvm.relay_passes.rewrite import array_of, dtype_of, shape_of
from abc_tvm.schedules.problem import Kind
from abc_tvm.schedules.scheduler import Scheduler

Read = Callable[[int, tuple[Expr, Expr, Expr]], Expr]
"""An element of the source ``k`` at row, column and channel."""


def move_of(call: relax.Call) -> Move:
    """The tables of a call of ``abc.move``, ``abc.move_bitserial`` or ``abc.move_int8``."""
    rows, columns, channels, source = (array_of(a) for a in call.args[-4:])
    return Move(rows, columns, channels, source)


class _Tables:
    """Small integer tables as arithmetic where they are lines, else as constants of the kernel."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.tensors: list[te.Tensor] = []

    def at(self, table: np.ndarray, index: tuple[Expr, ...]) -> Expr:
        """Element ``index`` of an int32 table."""
        first = int(table.reshape(-1)[0])
        if np.all(table == first):
            return tirx.const(first, "int32")
        if table.ndim == 1:
            step = int(table[1]) - first
            if np.array_equal(table, first + step * np.arange(len(table))):
                return tirx.const(first, "int32") + index[0] * tirx.const(step, "int32")
        tensor = te.placeholder(table.shape, "int32", name=f"table{len(self.tensors)}")
        self.arrays.append(np.ascontiguousarray(table, np.int32))
        self.tensors.append(tensor)
        return tensor[index]


class _Mover:
    """Reads of the sources of a move, by the tables of rows and columns and those of lanes."""

    def __init__(self, call: relax.Call, scheduler: Scheduler, batch: int | None) -> None:
        self.call, self.move, self.scheduler = call, move_of(call), scheduler
        self.sources = list(call.args[:-4])
        self.tables = _Tables()
        opened, self.height, self.width, self.channels = moved_shape(call)
        self.batch: Any = opened
        if not isinstance(opened, int):
            self.batch = batch or tirx.Var("batch", "int32")
        self.inputs = [
            te.placeholder((self.batch, *shape_of(x)[1:]), dtype_of(x), name=f"source{k}")
            for k, x in enumerate(self.sources)
        ]

    def read(
        self,
        h: Expr,
        w: Expr,
        lanes: np.ndarray,
        index: tuple[Expr, ...],
        item: Read,
        fill: Expr,
    ) -> Expr:
        """What stands at row, column and lane; ``lanes`` int ``[…]`` has the channel of each lane,
        whose place ``index`` is. A lane without a channel (-1) is 0."""
        move, at = self.move, self.tables.at
        channel = np.maximum(lanes, 0)
        source = np.where(lanes < 0, -1, move.source[..., channel])
        if not move.by_axes:
            # The axes in front of the lanes are those of rows and columns that are told apart.
            index = (*(i for i, n in zip((h, w), source.shape[:2], strict=True) if n > 1), *index)
            source = _without_ones(source)
        result = None
        for k in range(len(self.inputs)):
            mine = source == k
            if not mine.any():
                continue
            places = []
            for axis in range(3):
                # Lanes of other sources take any place of this one.
                table = move.channels[axis][..., channel]
                table = table if move.by_axes else _without_ones(table)
                table = np.where(mine, table, table[mine][0])
                place = at(move.rows[k, axis], (h,)) + at(move.columns[k, axis], (w,))
                places.append(place + at(table, index))
            value = item(k, (places[0], places[1], places[2]))
            if move.filled:
                # What is outside is so on all three axes.
                value = tirx.if_then_else(places[0] >= 0, value, fill)
            if result is None:
                result = value
            else:
                result = tirx.if_then_else(at(source, index) == k, value, result)
        none = tirx.const(0, fill.ty.dtype)
        if result is None:
            return none
        if (source < 0).any():
            result = tirx.if_then_else(at(source, index) >= 0, result, none)
        return result

    def lowered(self, out: te.Tensor, groups: int, pairs: int, kind: Kind) -> Lowered:
        """The scheduled kernel."""
        func = te.create_prim_func([*self.inputs, *self.tables.tensors, out])
        window = Window(
            batch=self.batch,
            height=self.height,
            width=self.width,
            in_channels=self.channels,
            out_channels=self.channels,
            kernel=(1, 1),
        )
        plan = self.scheduler.plan(window, Blocking(self.channels, groups, WORD), pairs, kind)
        shape = tuple(out.shape)
        return Lowered(
            self.scheduler.schedule(plan, func),
            plan,
            self.tables.arrays,
            [(shape, str(out.dtype))],
            [shape],
        )


def _without_ones(table: np.ndarray) -> np.ndarray:
    """A table ``[1 or H, 1 or W, …]`` without the first axes that are 1."""
    return table.reshape(*(n for n in table.shape[:2] if n > 1), *table.shape[2:])


def levels_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.move``."""
    mover = _Mover(call, scheduler, batch)
    fill = tirx.const(float(call.attrs["fill"]), "float32")
    lanes = np.arange(mover.channels)

    def moved(b: Expr, h: Expr, w: Expr, g: Expr, c: Expr) -> Expr:
        return mover.read(h, w, lanes, (c,), lambda k, at: mover.inputs[k][(b, *at)], fill)

    dims = (mover.batch, mover.height, mover.width, mover.channels)
    out = te.compute((*dims[:3], 1, dims[3]), moved, name="moved")
    return replace(mover.lowered(out, 1, 1, "pool_int8"), shapes=[dims])


def int8_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.move_int8``: sources lie in one group."""
    mover = _Mover(call, scheduler, batch)
    dtype, groups = dtype_of(call.args[0]), int(call.attrs["layout_groups"])
    fill = tirx.const(int(call.attrs["fill"]), dtype)
    slots = int(shape_of(_typed(call))[4])
    inside = mover.channels // groups
    lanes = np.full((groups, slots), -1)
    lanes[:, :inside] = np.arange(mover.channels).reshape(groups, inside)

    def moved(b: Expr, h: Expr, w: Expr, g: Expr, s: Expr) -> Expr:
        def item(k: int, at: tuple[Expr, Expr, Expr]) -> Expr:
            return mover.inputs[k][b, at[0], at[1], 0, at[2]]

        return mover.read(h, w, lanes, (g, s), item, fill)

    shape = (mover.batch, mover.height, mover.width, groups, slots)
    return mover.lowered(te.compute(shape, moved, name="moved"), groups, 1, "pool_int8")


def bits_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.move_bitserial``: sources lie in one group."""
    mover = _Mover(call, scheduler, batch)
    groups, planes = int(call.attrs["layout_groups"]), int(call.attrs["planes"])
    set_bits = [int(n) for n in call.attrs["fill"]]
    lanes = _lanes(mover.channels, groups)
    blocks, whole = lanes.shape[1], whole_words(mover.move, groups)
    ones = tirx.const(0xFFFFFFFF, "uint32")

    def fill_of(p: Expr, bit: bool) -> Expr:
        there = tirx.const(1, "uint32") if bit else ones
        none = tirx.const(0, "uint32")
        if not mover.move.filled or not any(set_bits):
            return none
        value = none
        for plane in range(planes):
            if set_bits[plane]:
                value = tirx.Select(p == plane, there, value)
        return value

    def bit_of(b: Expr, h: Expr, w: Expr, p: Expr, g: Expr, o: Expr, lane: Expr) -> Expr:
        def item(k: int, at: tuple[Expr, Expr, Expr]) -> Expr:
            word = mover.inputs[k][b, at[0], at[1], p, 0, at[2] // WORD]
            return (word >> (at[2] % WORD).astype("uint32")) & tirx.const(1, "uint32")

        return mover.read(h, w, lanes, (g, o, lane), item, fill_of(p, True))

    def word_of(b: Expr, h: Expr, w: Expr, p: Expr, g: Expr, o: Expr) -> Expr:
        def item(k: int, at: tuple[Expr, Expr, Expr]) -> Expr:
            return mover.inputs[k][b, at[0], at[1], p, 0, at[2] // WORD]

        word = mover.read(h, w, lanes[:, :, 0], (g, o), item, fill_of(p, False))
        used = (lanes >= 0).astype(np.uint8)
        masks = np.packbits(used, axis=-1, bitorder="little").view("<u4")[..., 0]
        if np.all(masks == 0xFFFFFFFF):
            return word
        return word & mover.tables.at(masks.view(np.int32), (g, o)).astype("uint32")

    def packed(*at: Expr) -> Expr:
        total = bits[(*at, 0)]
        for lane in range(1, WORD):
            total = total | (bits[(*at, lane)] << tirx.const(lane, "uint32"))
        return total

    shape = (mover.batch, mover.height, mover.width, planes, groups, blocks)
    if whole:
        out = te.compute(shape, word_of, name="moved")
    else:
        # One by one in a stage of their own: words of 32 reads each would be one expression.
        bits = te.compute((*shape, WORD), bit_of, name="bits", attrs=notes("bit"))
        out = te.compute(shape, packed, name="moved")
    return mover.lowered(out, groups, planes, "pool_bitserial")


def _typed(call: relax.Call) -> relax.Expr:
    """The call with a type."""
    if call.ty is not None and hasattr(call.ty, "shape"):
        return call
    return relax.BlockBuilder().normalize(call)


def _lanes(channels: int, groups: int) -> np.ndarray:
    """int ``[G, words, 32]``: the channel of every bit, -1 where there is none."""
    inside = channels // groups
    lanes = np.full((groups, words(inside) * WORD), -1)
    lanes[:, :inside] = np.arange(channels).reshape(groups, inside)
    return lanes.reshape(groups, -1, WORD)


def whole_words(move: Move, groups: int) -> bool:
    """Whether the bits of every word come from one word, in their order, wherever it stands."""
    lanes = _lanes(move.shape[2], groups)
    parts = [move.rows[:, 2], move.columns[:, 2]]
    if any(np.any(part[part > OUTSIDE // 2] % WORD) for part in parts):
        return False
    channel = np.maximum(lanes, 0)
    source, at = move.source[..., channel], move.channels[..., channel]
    bit = np.arange(WORD)
    same = (source == source[..., :1]) & np.all(at[:2] == at[:2, ..., :1], axis=0)
    same &= (at[2] == at[2, ..., :1] + bit) & (at[2, ..., :1] % WORD == 0)
    # Of what is outside nothing is read.
    outside = np.all(at < OUTSIDE // 2, axis=0)
    same |= outside & outside[..., :1]
    return bool(np.all(same | (lanes < 0)))


MOVE_LEVELS = Pooling("abc.move", levels_kernel)
MOVE_BITS = Pooling("abc.move_bitserial", bits_kernel)
MOVE_INT8 = Pooling("abc.move_int8", int8_kernel)
