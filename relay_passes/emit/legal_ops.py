"""How operators of TVM's become kernels where its own way is wrong.

``max`` and ``min`` begin at the largest finite number: of a row of infinities (a masked row of an
attention) they give ``3.4e38``. Here they begin at infinity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx, topi

_FLOATS = ("float16", "float32", "float64")


def _extreme(
    join: Callable[[Any, Any], Any], start: float, plain: Any, name: str
) -> Callable[[relax.BlockBuilder, Any], Any]:
    reducer = te.comm_reducer(
        lambda a, b: join(a, b), lambda dtype: tirx.const(start, dtype), name=name
    )

    def reduce(data: te.Tensor, axis: Any, keepdims: bool) -> te.Tensor:
        rank = len(data.shape)
        axes = [int(a) % rank for a in axis] if axis is not None else list(range(rank))
        if str(data.dtype) not in _FLOATS or not axes:
            return plain(data, axis, keepdims)
        ranges = {a: te.reduce_axis((0, data.shape[a]), f"k{a}") for a in axes}
        kept = [a for a in range(rank) if a not in ranges]
        shape = [1 if a in ranges else data.shape[a] for a in (range(rank) if keepdims else kept)]

        def value(*index: Any) -> Any:
            outer = dict(zip(range(rank) if keepdims else kept, index, strict=True))
            where = [ranges[a] if a in ranges else outer[a] for a in range(rank)]
            return reducer(data[tuple(where)], axis=list(ranges.values()))

        return te.compute(shape, value, name=f"{name}_red")

    def legalise(builder: relax.BlockBuilder, call: Any) -> Any:
        axis, keepdims = call.attrs.axis, bool(call.attrs.keepdims)
        return builder.call_te(reduce, call.args[0], axis, keepdims, primfunc_name_hint=name)

    return legalise


LEGAL = {
    "relax.max": _extreme(tirx.max, float("-inf"), topi.max, "max"),
    "relax.min": _extreme(tirx.min, float("inf"), topi.min, "min"),
}
"""Operator to the function that emits its kernel, as ``LegalizeOps`` takes it."""
