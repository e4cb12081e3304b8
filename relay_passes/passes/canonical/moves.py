"""Operators that move data and need not, once a value remembers how it is to be read.

1. ``permute_dims`` to NCHW of a plain tensor, and back to NHWC: nothing moves.
2. ``reshape`` of an image to ``[B, C * H * W]`` (or of what is NHWC in the graph to
   ``[B, H * W * C]``): the image stays, read as flattened.
3. ``reshape`` of ``[B, F]`` to ``[B, F, 1, 1]``, and ``squeeze`` of H and W of an image that has
   neither: ``[B, 1, 1, F]`` is there before and after. ``squeeze`` of H alone, and ``expand_dims``
   back: ``[B, 1, W, C]`` is.
4. ``concat`` of images, and of features along them: in NHWC.
5. ``broadcast_to`` the shape that is there already: nothing. Of a constant: a constant, which
   element-wise operators make short again.
6. ``split``, ``strided_slice`` and ``take`` of images: in NHWC.

Refuses: all other cases, which are done on the graph's own tensors.
"""

from __future__ import annotations

from math import prod

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import (
    TO_NCHW,
    TO_NHWC,
    Placed,
    Value,
    flattened,
    is_flatten,
    same_shape,
)
from abc_tvm.relay_passes.passes.canonical.walk import Walk, stored_integers
from abc_tvm.relay_passes.rewrite import const, shape_of

MOST_STORED = 1 << 22
"""Elements of a constant that is written out."""

_NHWC_AXIS = (0, 3, 1, 2)
"""Where each axis of NCHW is in NHWC."""


def transposed(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """1: ``permute_dims``."""
    value = walk.get(call.args[0])
    axes = [int(a) for a in call.attrs.axes] if call.attrs.axes is not None else None
    if not isinstance(value, Placed):
        return None
    if value.kind == "plain" and axes == TO_NCHW:
        return Placed(value.expr, "nhwc")
    if value.kind == "nhwc" and axes == TO_NHWC:
        return Placed(value.expr, native=True)
    return None


def reshaped(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """2 and 3: ``reshape``."""
    value = walk.get(call.args[0])
    old, new = shape_of(call.args[0]), shape_of(var)
    if not isinstance(value, Placed):
        return None
    if is_flatten(old, new) and (value.kind == "nhwc" or value.native):
        return flattened(value)
    if value.kind == "dense" and same_shape(new, (*old, 1, 1)):
        return Placed(value.expr, "nhwc")
    return None


def squeezed(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """3: ``squeeze``."""
    value = walk.get(call.args[0])
    axes = [int(a) % 4 for a in call.attrs.axis or []]
    if not isinstance(value, Placed) or value.kind != "nhwc":
        return None
    if sorted(axes) == [2, 3]:
        return Placed(value.expr, "dense")
    return Placed(value.expr, "row") if axes == [2] else None


def unsqueezed(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """3: ``expand_dims``."""
    value = walk.get(call.args[0])
    if not isinstance(value, Placed) or value.kind != "row":
        return None
    return Placed(value.expr, "nhwc") if [int(a) % 4 for a in call.attrs.axis] == [2] else None


def concatenated(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """4: ``concat``."""
    parts = walk.fields(call.args[0])
    placed = [p for p in parts if isinstance(p, Placed)]
    kinds = {p.kind for p in placed}
    if len(placed) < len(parts) or len(kinds) != 1:
        return None
    axis = int(call.attrs.axis or 0)
    exprs = [p.expr for p in placed]
    if kinds == {"nhwc"}:
        to = _NHWC_AXIS[axis % 4]
        return Placed(walk.to.op(relax.op.concat(exprs, to)), "nhwc")
    if kinds == {"dense"} and axis % 2 == 1:
        return Placed(walk.to.op(relax.op.concat(exprs, 3)), "dense")
    return None


def broadcast(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """5: ``broadcast_to``."""
    if same_shape(shape_of(call.args[0]), shape_of(var)):
        return walk.get(call.args[0])
    array, shape = walk.array(call.args[0]), shape_of(var)
    sizes = [extent for extent in shape if isinstance(extent, int)]
    if array is None or len(sizes) < len(shape) or prod(sizes) > MOST_STORED:
        return None
    return Placed(const(np.broadcast_to(array, sizes)))


def split(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """6: ``split``."""
    value = walk.get(call.args[0])
    if not isinstance(value, Placed) or value.kind != "nhwc":
        return None
    where = call.attrs.indices_or_sections
    sections = [int(n) for n in where] if hasattr(where, "__len__") else int(where)
    axis = _NHWC_AXIS[int(call.attrs.axis) % 4]
    cut = walk.to.op(relax.op.split(value.expr, sections, axis))
    count = len(var.ty.fields)
    parts: list[Value] = [
        Placed(walk.to.op(relax.TupleGetItem(cut, i)), "nhwc") for i in range(count)
    ]
    walk.tuples[var] = parts
    return parts[0]


def sliced(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """6: ``strided_slice``."""
    value = walk.get(call.args[0])
    numbers = [stored_integers(walk, arg) for arg in call.args[1:]]
    if not isinstance(value, Placed) or value.kind != "nhwc" or None in numbers:
        return None
    axes, begin, end, *strides = (n for n in numbers if n is not None)
    moved = [_NHWC_AXIS[a % 4] for a in axes]
    cut = relax.op.strided_slice(value.expr, moved, begin, end, *strides)
    return Placed(walk.to.op(cut), "nhwc")


def taken(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """6: ``take`` of stored indices, one dimension of them."""
    value, index = walk.get(call.args[0]), walk.array(call.args[1])
    if not isinstance(value, Placed) or value.kind != "nhwc" or index is None or index.ndim != 1:
        return None
    if call.attrs.axis is None:
        return None
    axis = _NHWC_AXIS[int(call.attrs.axis) % 4]
    return Placed(walk.to.op(relax.op.take(value.expr, const(index), axis)), "nhwc")
