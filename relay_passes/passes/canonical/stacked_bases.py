"""Bases stacked along an extra axis become single ones.

A graph may write N bases at once: Unsqueeze, element-wise operators with one constant for each
base, ReduceSum over the new axis. The slices are kept apart (:class:`.layout.Stacked`),
element-wise operators write each one (:mod:`.elementwise`), and the sum adds them up. The axis
appears with

1. ``expand_dims`` of a rank-4 or rank-2 tensor, and a ``reshape`` of a rank-4 one to an axis of 1;
2. ``stack``, one slice for each tensor;
3. ``concat`` along it, of stacks,

and goes with

4. ``sum``, ``mean``, ``max`` or ``min`` over it; with ``keepdims`` one slice stays;
5. ``squeeze`` or ``reshape`` without it, if there is one slice;
6. ``matmul`` with a stored vector, where it is the last axis: a weighted sum.

In between

7. ``split``, ``take`` and ``strided_slice`` along it choose slices, and ``permute_dims`` moves it;
8. ``reshape`` joins it with the batch, and parts them again; a ``concat`` of batches is such a
   stack, and a ``split`` of the batch its end. Where that end is seen ahead, a convolution of the
   whole is one of each slice, so that they can be collapsed.

Max, Min, Sum and Mean of several tensors are imported as a reduction of a ``stack`` of what they
are broadcast to. Where such a tensor is a stack already,

9. they are element-wise operators on its slices.

Every other operator puts the stack together.

Example: ``sum(multiply(expand_dims(x, 0), const [2, 1, 1, 1, 1]), 0)`` becomes
``add(multiply(x, const), multiply(x, const))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import (
    Placed,
    Shape,
    Stacked,
    Value,
    graph_shape,
    same_shape,
)
from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.passes.canonical.convolution import nhwc_convolution
from abc_tvm.relay_passes.passes.canonical.elementwise import apply, before_broadcasts
from abc_tvm.relay_passes.passes.canonical.walk import Walk, stored_integers
from abc_tvm.relay_passes.rewrite import const, constant, op_name, shape_of


def unsqueezed(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """1: ``expand_dims``."""
    value = walk.get(call.args[0])
    axes = [int(a) for a in call.attrs.axis]
    rank = len(shape_of(call.args[0])) + 1
    if isinstance(value, Stacked) or rank not in (3, 5) or len(axes) != 1:
        return None
    return Stacked((value,), axes[0] % rank, rank)


def reshaped(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """1 and 5: ``reshape`` to an axis of 1 more or less."""
    value = walk.get(call.args[0])
    old, new = shape_of(call.args[0]), shape_of(var)
    if isinstance(value, Stacked):
        carried = _joined_with_batch(value, old, new)
        if carried is not None:
            return carried
        if value.carried:
            return None
        one = (*old[: value.axis], *old[value.axis + 1 :])
        return value.slices[0] if len(value.slices) == 1 and same_shape(new, one) else None
    if len(old) != 4 or len(new) != 5 or value.kind not in ("plain", "nhwc"):
        return None
    for axis in range(5):
        if new[axis] == 1 and same_shape(new[:axis] + new[axis + 1 :], old):
            return Stacked((value,), axis)
    return None


def squeezed(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """5: ``squeeze``."""
    value = walk.get(call.args[0])
    if not isinstance(value, Stacked) or value.carried or len(value.slices) > 1:
        return None
    axes = [int(a) % value.rank for a in call.attrs.axis or []]
    return value.slices[0] if axes == [value.axis] else None


def stacked(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """2: ``stack``."""
    parts = _before_broadcasts(walk, var, call) or walk.fields(call.args[0])
    placed = tuple(p for p in parts if isinstance(p, Placed))
    if not placed or len(placed) < len(parts):
        return None
    rank = len(shape_of(var))
    return Stacked(placed, int(call.attrs.axis or 0) % rank, rank)


def _before_broadcasts(walk: Walk, var: relax.Var, call: relax.Call) -> list[Value]:
    """What was broadcast to be stacked, if all that becomes of the stack is one slice.

    So are Max, Min, Sum and Mean imported. Nothing if it is otherwise.
    """
    readers = [reader for _, reader in walk.readers.get(var, ())]
    axis = int(call.attrs.axis or 0)
    if not isinstance(call.args[0], relax.Tuple) or not readers:
        return []
    if any(
        op_name(one) not in ("max", "min", "sum", "mean")
        or [int(a) for a in one.attrs.axis or []] != [axis]
        for one in readers
    ):
        return []
    shape = shape_of(var)[:axis] + shape_of(var)[axis + 1 :]
    return [walk.get(part) for part in before_broadcasts(walk, call.args[0].fields, shape)]


def concatenated(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """3: ``concat`` along the axis of all stacks."""
    parts = walk.fields(call.args[0])
    batches = _batches(walk, var, call, parts)
    if batches is not None:
        return batches
    stacks = [p for p in parts if isinstance(p, Stacked)]
    if not stacks or len(stacks) < len(parts):
        return None
    axis, rank = int(call.attrs.axis or 0) % stacks[0].rank, stacks[0].rank
    if any(s.axis != axis or s.carried for s in stacks):
        return None
    return Stacked(tuple(one for s in stacks for one in s.slices), axis, rank)


def added_up(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """4 and 9: ``sum`` or ``mean``."""
    parts = _reduced(walk, call)
    if not parts:
        return None
    total = _folded(walk, "add", parts)
    if op_name(call) == "mean":
        count = np.array(len(parts), np.float32)
        total = apply(walk, "divide", total, Placed(const(count)))
    return _kept(walk, call, total)


def extreme(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """4 and 9: ``max`` or ``min``."""
    parts = _reduced(walk, call)
    if not parts:
        return None
    name = {"max": "maximum", "min": "minimum"}[str(op_name(call))]
    return _kept(walk, call, _folded(walk, name, parts))


def _reduced(walk: Walk, call: relax.Call) -> Sequence[Value]:
    """What is reduced to one along a stack's axis; nothing if that is no such call."""
    axes = [int(a) for a in call.attrs.axis or []]
    value = walk.get(call.args[0])
    if isinstance(value, Stacked):
        along = axes in ([value.axis], [value.axis - value.rank])
        return value.slices if along and not value.carried else []
    source = walk.defined.get(call.args[0]) if isinstance(call.args[0], relax.Var) else None
    if source is None or op_name(source) != "stack" or call.attrs.keepdims:
        return []
    parts = _before_broadcasts(walk, call.args[0], source)  # 9
    stacks = [p for p in parts if isinstance(p, Stacked)]
    return parts if stacks and not any(p.carried for p in stacks) else []


def _folded(walk: Walk, name: str, parts: Sequence[Value]) -> Value:
    total = parts[0]
    for part in parts[1:]:
        total = apply(walk, name, total, part)
    return total


def _kept(walk: Walk, call: relax.Call, total: Value) -> Value:
    """``total`` as one slice of the stack, where the axis is kept."""
    value = walk.get(call.args[0])
    if not call.attrs.keepdims or not isinstance(value, Stacked):
        return total
    return Stacked((walk.one(total),), value.axis, value.rank)


def weighted(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """6: ``matmul`` of a stack and a vector ``[N]``, or ``[N, 1]``."""
    value, weights = walk.get(call.args[0]), walk.array(call.args[1])
    if not isinstance(value, Stacked) or value.carried or value.axis != value.rank - 1:
        return None
    if weights is None or weights.shape not in ((len(value.slices),), (len(value.slices), 1)):
        return None
    walk.names.next("dense")
    total: Value | None = None
    for part, weight in zip(value.slices, weights.reshape(-1), strict=True):
        one = apply(walk, "multiply", part, Placed(const(np.asarray(weight))))
        total = one if total is None else apply(walk, "add", total, one)
    if total is None or weights.ndim == 1:
        return total
    return Stacked((walk.one(total),), value.axis, value.rank)


def split(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """7 and 8: ``split`` into single slices."""
    value = walk.get(call.args[0])
    where, axis = call.attrs.indices_or_sections, int(call.attrs.axis)
    if not isinstance(value, Stacked) or axis % value.rank != (0 if value.carried else value.axis):
        return None
    count = len(value.slices)
    if value.carried:
        batch = shape_of(value.slices[0].expr)[0]
        if value.axis != 0 or not isinstance(batch, int):
            return None
    else:
        batch = 1
    cuts = [batch * k for k in range(1, count)]
    given = [int(n) for n in where] if hasattr(where, "__len__") else None
    if given != cuts and not (given is None and int(where) == count):
        return None
    parts: list[Value] = [
        one if value.carried else Stacked((one,), value.axis, value.rank) for one in value.slices
    ]
    walk.tuples[var] = parts
    return parts[0]


def taken(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """7: ``take`` of stored indices."""
    value, index = walk.get(call.args[0]), walk.array(call.args[1])
    if not isinstance(value, Stacked) or value.carried or index is None:
        return None
    if call.attrs.axis is None or int(call.attrs.axis) % value.rank != value.axis:
        return None
    if index.ndim == 0:
        return value.slices[int(index)]
    if index.ndim != 1:
        return None
    return Stacked(tuple(value.slices[int(i)] for i in index), value.axis, value.rank)


def sliced(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """7: ``strided_slice`` along the axis alone, forwards."""
    value = walk.get(call.args[0])
    if not isinstance(value, Stacked) or value.carried:
        return None
    numbers = [stored_integers(walk, arg) for arg in call.args[1:]]
    if any(n is None or len(n) != 1 for n in numbers):
        return None
    axis, begin, end, *stride = (n[0] for n in numbers if n is not None)
    if axis % value.rank != value.axis or (stride and stride[0] < 1):
        return None
    kept = value.slices[begin : end : stride[0] if stride else 1]
    return Stacked(kept, value.axis, value.rank) if kept else None


def transposed(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """7: ``permute_dims`` that moves the axis past others, which stay in their order."""
    value = walk.get(call.args[0])
    if not isinstance(value, Stacked) or value.carried or call.attrs.axes is None:
        return None
    axes = [int(a) % value.rank for a in call.attrs.axes]
    place = axes.index(value.axis)
    rest = [a for a in axes if a != value.axis]
    return Stacked(value.slices, place, value.rank) if rest == sorted(rest) else None


def convolution(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """8: ``nn.conv2d`` of what is carried in the batch."""
    value = walk.get(call.args[0])
    if not isinstance(value, Stacked) or not value.carried or not _comes_back(walk, var):
        return None
    name = walk.names.next("conv")
    slices = []
    for k, one in enumerate(value.slices):
        layer = nhwc_convolution(walk, one, call, name if k == 0 else f"{name}+{k}")
        if layer is None:
            return None
        slices.append(layer)
    return Stacked(tuple(slices), value.axis, value.rank, carried=True)


def _joined_with_batch(value: Stacked, old: Shape, new: Shape) -> Stacked | None:
    """8: the stack after a ``reshape`` that joins or parts its axis and the batch."""
    count = len(value.slices)
    if value.axis > 1:
        return None
    if value.carried:
        batch, *rest = graph_shape(value.slices[0])
        first = (count, batch) if value.axis == 0 else (batch, count)
        return replace(value, carried=False) if same_shape(new, (*first, *rest)) else None
    batch = old[1 - value.axis]
    if old[value.axis] != count or len(new) != len(old) - 1 or not same_shape(new[1:], old[2:]):
        return None
    both = isinstance(batch, int) and isinstance(new[0], int)
    if both and new[0] != batch * count:
        return None
    return replace(value, carried=True)


def _batches(
    walk: Walk, var: relax.Var, call: relax.Call, parts: Sequence[Value]
) -> Stacked | None:
    """8: images of equal shape, one batch behind the other, that are parted again."""
    placed = tuple(p for p in parts if isinstance(p, Placed))
    if len(placed) < max(2, len(parts)) or int(call.attrs.axis or 0) != 0:
        return None
    shapes = [graph_shape(p) for p in placed]
    if len(shapes[0]) != 4 or any(not same_shape(s, shapes[0]) for s in shapes):
        return None
    if any(constant(p.expr) is not None for p in placed) or not _comes_back(walk, var):
        return None
    return Stacked(placed, 0, 5, carried=True)


def _comes_back(walk: Walk, var: relax.Var) -> bool:
    """Whether all that reads a batch that carries slices parts them again, behind one layer."""
    readers = walk.readers.get(var, [])
    if not readers:
        return False
    for reader, value in readers:
        if reader is None:
            return False
        name = op_name(value)
        if isinstance(value, relax.TupleGetItem) or name in TABLE or name in _PASSED:
            if not _comes_back(walk, reader):
                return False
        elif name == "reshape":
            if len(shape_of(reader)) != len(shape_of(value.args[0])) + 1:
                return False
        elif name != "split" or int(value.attrs.axis) != 0:
            return False
    return True


_PASSED = ("nn.conv2d", "nn.batch_norm", "nn.prelu", "nn.leakyrelu")
