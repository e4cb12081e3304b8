"""How operators of TVM's become kernels where its own way is wrong.

``max`` and ``min`` begin at the largest finite number: of a row of infinities (a masked row of an
attention) they give ``3.4e38``. Here they begin at infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tvm import relax, te, tirx, topi
from tvm.ir import Expr

_FLOATS = ("float16", "float32", "float64")

Axes: TypeAlias = "Sequence[int] | None"
Reduction = Callable[[te.Tensor, Axes, bool], te.Tensor]


def _extreme(
    join: Callable[[Expr, Expr], Expr], start: float, plain: Reduction, name: str
) -> Callable[[relax.BlockBuilder, relax.Call], relax.Expr]:
    reducer = te.comm_reducer(
        lambda a, b: join(a, b), lambda dtype: tirx.const(start, dtype), name=name
    )

    def reduce(data: te.Tensor, axis: Axes, keepdims: bool) -> te.Tensor:
        rank = len(data.shape)
        axes = [int(a) % rank for a in axis] if axis is not None else list(range(rank))
        if str(data.dtype) not in _FLOATS or not axes:
            return plain(data, axis, keepdims)
        ranges = {a: te.reduce_axis((0, data.shape[a]), f"k{a}") for a in axes}
        kept = [a for a in range(rank) if a not in ranges]
        shape = [1 if a in ranges else data.shape[a] for a in (range(rank) if keepdims else kept)]

        def value(*index: Expr) -> Expr:
            outer = dict(zip(range(rank) if keepdims else kept, index, strict=True))
            where = [ranges[a] if a in ranges else outer[a] for a in range(rank)]
            return reducer(data[tuple(where)], axis=list(ranges.values()))

        return te.compute(shape, value, name=f"{name}_red")

    def legalise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        axis, keepdims = call.attrs.axis, bool(call.attrs.keepdims)
        return builder.call_te(reduce, call.args[0], axis, keepdims, primfunc_name_hint=name)

    return legalise


LEGAL = {
    "relax.max": _extreme(tirx.max, float("-inf"), topi.max, "max"),
    "relax.min": _extreme(tirx.min, float("inf"), topi.min, "min"),
}
"""Operator to the function that emits its kernel, as ``LegalizeOps`` takes it."""
