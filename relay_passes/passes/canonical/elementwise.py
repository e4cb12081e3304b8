"""Element-wise operators, in the layout of what they read.

1. The importer spells Clip as ``call_tir(maximum)`` and ``call_tir(minimum)``: they become these.
2. Of stacked bases (:class:`.layout.Stacked`): one operator for each slice, which reads the other
   stacks' slices and the constants' at that place. A stack along another axis, or a tensor that is
   no constant, puts the stack together first.
3. Of constants alone: a constant.
4. Of rank-4 tensors of which one lies in NHWC: NHWC; of rank-3 tensors of which one lies as a row
   of it: so.
5. Of rank-2 tensors that lie flattened, all in one order: flattened so.
6. Of other rank-2 tensors, if one is no plain one or all are ``[B, F]``: ``[B, 1, 1, F]``.
7. Of all others: the graph's own tensors. The result is NHWC in the graph if one operand is.

Constants lose what broadcasting repeats (:func:`.layout.narrowed`), and move to the layout
(:func:`.layout.place_constant`); tensors that lie otherwise are
converted.

Example: ``add(permute_dims(x, NCHW), const [4, 1, 1])`` becomes ``add(x, const [1, 1, 1, 4])``, and
the transpose waits for who needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import (
    Kind,
    Placed,
    Shape,
    Stacked,
    Value,
    graph_rank,
    graph_shape,
    narrowed,
    place_constant,
    same_shape,
    widened,
)
from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.passes.canonical.fold_constants import evaluated
from abc_tvm.relay_passes.passes.canonical.walk import Walk
from abc_tvm.relay_passes.rewrite import const, constant, op_name, shape_of


def named(call: relax.Call) -> relax.Call:
    """1: the element-wise operator that a ``call_tir`` stands for; other calls as they are."""
    if op_name(call) != "call_tir":
        return call
    name = str(call.args[0].name_hint).rstrip("0123456789")
    fields = getattr(call.args[1], "fields", [])
    if name not in ("maximum", "minimum") or len(fields) != 2:
        return call
    return getattr(relax.op, name)(*fields)


def elementwise(walk: Walk, var: relax.Var, call: relax.Call) -> Value:
    """A call of an operator of ``pointwise.TABLE``."""
    args = before_broadcasts(walk, call.args, shape_of(var)) or call.args
    return written(walk, call, [walk.get(a) for a in args])


def before_broadcasts(walk: Walk, args: Sequence[relax.Expr], shape: Shape) -> Sequence[relax.Expr]:
    """What was broadcast to ``shape`` for an operator that does so by itself, in place of it.

    A number stays a number then, also where the batch is open, and what operators make of numbers
    (:func:`repeated`). Nothing where no operand is of that
    shape by itself.
    """
    before = []
    for arg in args:
        small = repeated(walk, arg)
        before.append(small if small is not None and same_shape(shape_of(arg), shape) else arg)
    return before if any(same_shape(shape_of(one), shape) for one in before) else []


def repeated(walk: Walk, arg: relax.Expr) -> relax.Expr | None:
    """The smaller tensor that ``arg`` repeats: what was broadcast, or operators of such constants.

    Exporters write ``-ones_like(x)`` as a Neg behind the Expand.
    """
    source = walk.defined.get(arg) if isinstance(arg, relax.Var) else None
    if source is None:
        return None
    if arg not in walk.repeated:
        walk.repeated[arg] = _repeated(walk, named(source))
    return walk.repeated[arg]


def _repeated(walk: Walk, call: relax.Call) -> relax.Expr | None:
    name = str(op_name(call))
    if name == "broadcast_to":
        inner = repeated(walk, call.args[0])
        return call.args[0] if inner is None else inner
    if name not in TABLE:
        return None
    arrays = []
    for arg in call.args:
        small = repeated(walk, arg)
        array = walk.array(arg if small is None else small)
        if array is None:
            return None
        arrays.append(array)
    return const(evaluated(name, call, arrays))


def apply(walk: Walk, name: str, *args: Value) -> Value:
    """Emit an element-wise operator that is not in the old graph."""
    return written(walk, relax.Call(tvm.ir.Op.get(f"relax.{name}"), []), args)


def written(walk: Walk, call: relax.Call, args: Sequence[Value]) -> Value:
    """``call``'s operator on values."""
    placed = [a for a in args if isinstance(a, Placed)]
    if len(placed) < len(args):
        return _by_slices(walk, call, args)  # 2
    arrays = [constant(a.expr) for a in placed]
    constants = [array for array in arrays if array is not None]
    if len(constants) == len(placed):
        return Placed(const(evaluated(str(op_name(call)), call, constants)))  # 3
    tensors = [a for a, array in zip(placed, arrays, strict=True) if array is None]
    rank, kinds = max(graph_rank(a) for a in placed), {a.kind for a in tensors}
    if not kinds & {"flat_chw", "flat_hwc"}:
        # Of flattened images a constant has every element, or one.
        shapes = [graph_shape(a) for a in tensors]
        for i, array in enumerate(arrays):
            short = array if array is None else narrowed(array, shapes)
            if short is not None and short is not array:
                arrays[i], placed[i] = short, Placed(const(short))
    kind = _kind(rank, tensors)
    like = next((shape_of(a.expr) for a in placed if a.kind == kind), ())
    operands = [
        _operand(walk, a, array, kind, like) for a, array in zip(placed, arrays, strict=True)
    ]
    native = kind == "plain" and any(a.native for a in placed)
    expr = relax.Call(call.op, operands, call.attrs, call.ty_args)
    return Placed(walk.to.op(expr), kind, native)


def _kind(rank: int, tensors: Sequence[Placed]) -> Kind:
    """The layout of an operator of ``rank``, given where its tensors lie."""
    kinds = {a.kind for a in tensors}
    if rank == 4 and "nhwc" in kinds:
        return "nhwc"  # 4
    if rank == 3 and "row" in kinds:
        return "row"  # 4
    if rank != 2:
        return "plain"  # 7
    if len(kinds) == 1 and kinds <= {"flat_chw", "flat_hwc"}:
        return kinds.pop()  # 5
    if kinds - {"plain"} or all(len(shape_of(a.expr)) == 2 for a in tensors):
        return "dense"  # 6
    return "plain"


def _operand(
    walk: Walk, value: Placed, array: np.ndarray | None, kind: Kind, like: Shape
) -> relax.Expr:
    """``value`` in the layout ``kind``; ``array`` are its numbers if it is constant."""
    if kind == "plain":
        return walk.to.plain(value)
    if array is not None:
        return const(place_constant(array, kind, like))
    if kind == "dense":
        return value.expr if len(shape_of(value.expr)) < 2 else walk.to.dense(value)
    if kind == "nhwc":
        return _image(walk, value)
    if kind == "row":
        return _row(walk, value)
    return value.expr


def _image(walk: Walk, value: Placed) -> relax.Expr:
    """NHWC of a tensor that broadcasts to NCHW."""
    if value.kind == "nhwc":
        return value.expr
    plain = walk.to.plain(value)
    dims = shape_of(plain)
    if len(dims) < 4:
        plain = walk.to.op(relax.op.reshape(plain, (1,) * (4 - len(dims)) + dims))
    return walk.to.nhwc(Placed(plain))


def _row(walk: Walk, value: Placed) -> relax.Expr:
    """``[B, 1, W, C]`` of a tensor that broadcasts to ``[B, C, W]``."""
    if value.kind == "row":
        return value.expr
    plain = walk.to.plain(value)
    dims = shape_of(plain)
    if len(dims) < 3:
        plain = walk.to.op(relax.op.reshape(plain, (1,) * (3 - len(dims)) + dims))
    return walk.to.row(Placed(plain))


def _by_slices(walk: Walk, call: relax.Call, args: Sequence[Value]) -> Value:
    stacks = [a for a in args if isinstance(a, Stacked)]
    axis, rank, carried = stacks[0].axis, stacks[0].rank, stacks[0].carried
    count = max(len(stack.slices) for stack in stacks)
    slices: list[Callable[[int], Placed]] = []
    for a in args:
        array = constant(a.expr) if isinstance(a, Placed) else None
        if isinstance(a, Stacked) and (a.axis, a.carried) == (axis, carried):
            slices.append(_slices_of(a))
        elif array is not None and carried and widened(array, rank - 1).shape[0] == 1:
            slices.append(_every_slice(Placed(const(array))))
        elif array is not None and not carried:
            full = widened(array, rank)
            count = max(count, full.shape[axis])
            slices.append(_slices_of_constant(full, axis))
        else:
            return written(walk, call, [walk.one(v) for v in args])
    results = [written(walk, call, [take(i) for take in slices]) for i in range(count)]
    return Stacked(tuple(v for v in results if isinstance(v, Placed)), axis, rank, carried)


def _every_slice(value: Placed) -> Callable[[int], Placed]:
    return lambda i: value


def _slices_of(stack: Stacked) -> Callable[[int], Placed]:
    return lambda i: stack.slices[i if len(stack.slices) > 1 else 0]


def _slices_of_constant(array: np.ndarray, axis: int) -> Callable[[int], Placed]:
    return lambda i: Placed(const(array.take(i if array.shape[axis] > 1 else 0, axis)))
