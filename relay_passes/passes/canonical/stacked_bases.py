"""Bases stacked along an extra axis become single ones.

A graph may write N bases at once: Unsqueeze, element-wise operators with one constant for each
base, ReduceSum over the new axis. The slices are kept apart (:class:`.layout.Stacked`),
element-wise operators write each one (:mod:`.elementwise`), and the sum adds them up. The axis
appears with

1. ``expand_dims`` of a rank-4 or rank-2 tensor, and a ``reshape`` of a rank-4 one to an axis of 1;
2. ``stack``, one slice for each tensor;
3. ``concat`` along it, of stacks,

and goes with

4. ``sum`` or ``mean`` over it; with ``keepdims`` one slice stays;
5. ``squeeze`` or ``reshape`` without it, if there is one slice.

Every other operator puts the stack together.

Example: ``sum(multiply(expand_dims(x, 0), const [2, 1, 1, 1, 1]), 0)`` becomes
``add(multiply(x, const), multiply(x, const))``.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import Placed, Stacked, Value, same_shape
from abc_tvm.relay_passes.passes.canonical.elementwise import apply
from abc_tvm.relay_passes.passes.canonical.walk import Walk
from abc_tvm.relay_passes.rewrite import const, op_name, shape_of


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
    if not isinstance(value, Stacked) or len(value.slices) > 1:
        return None
    axes = [int(a) % value.rank for a in call.attrs.axis or []]
    return value.slices[0] if axes == [value.axis] else None


def stacked(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """2: ``stack``."""
    parts = walk.fields(call.args[0])
    placed = tuple(p for p in parts if isinstance(p, Placed))
    if not placed or len(placed) < len(parts):
        return None
    rank = len(shape_of(var))
    return Stacked(placed, int(call.attrs.axis or 0) % rank, rank)


def concatenated(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """3: ``concat`` along the axis of all stacks."""
    parts = walk.fields(call.args[0])
    stacks = [p for p in parts if isinstance(p, Stacked)]
    if not stacks or len(stacks) < len(parts):
        return None
    axis, rank = int(call.attrs.axis or 0) % stacks[0].rank, stacks[0].rank
    if any(s.axis != axis for s in stacks):
        return None
    return Stacked(tuple(one for s in stacks for one in s.slices), axis, rank)


def added_up(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """4: ``sum`` or ``mean``."""
    value = walk.get(call.args[0])
    axes = [int(a) for a in call.attrs.axis or []]
    if not isinstance(value, Stacked) or axes not in ([value.axis], [value.axis - value.rank]):
        return None
    total: Value = value.slices[0]
    for part in value.slices[1:]:
        total = apply(walk, "add", total, part)
    if op_name(call) == "mean":
        count = np.array(len(value.slices), np.float32)
        total = apply(walk, "divide", total, Placed(const(count)))
    if call.attrs.keepdims:
        return Stacked((walk.one(total),), value.axis, value.rank)
    return total
