"""Element-wise operators: one row each, with every meaning that the compiler needs.

A row gives the NumPy meaning (float32 arithmetic in the order that ONNX defines), how an
operator maps intervals to intervals (for :mod:`.constant_pieces`), and the TE expression (for
fused epilogues). A chain made of these rows can be evaluated, bounded and fused.

Bounds surely hold all results, because float32 operations that round to the nearest are monotone:

1. Of what rises in every argument, and of what falls in its only one, the ends bound the results.
2. Of what is monotone in each argument, either way (a product), the corners do; where a corner is
   NaN (0 times infinity) nothing is known.
3. Subtraction, division, Abs, comparisons and Where have bounds of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import relax, tirx

Array = np.ndarray
Bounds = tuple[Array, Array]
"""Lower and upper end of a value, element by element; equal where it is known exactly."""

Meaning = Callable[..., Array]
"""Of arrays, and attributes by name."""

BoundsOf = Callable[..., Bounds]
"""Of bounds, and attributes by name."""

Expression = Callable[..., relax.Expr]
"""Of expressions of TE."""


@dataclass(frozen=True)
class Pointwise:
    """One element-wise operator.

    ``numpy(*arrays, **attrs)``; ``bounds(*bounds, **attrs)``; ``te(*expressions, **attrs)`` is
    ``None`` where the operator is never fused into a kernel.
    """

    numpy: Meaning
    bounds: BoundsOf
    te: Expression | None = None


def _rising(function: Meaning) -> BoundsOf:
    """Case 1: bounds of a function that rises (weakly) in every argument."""

    def bounds(*args: Bounds, **attrs: str) -> Bounds:
        low = function(*(a[0] for a in args), **attrs)
        return low, function(*(a[1] for a in args), **attrs)

    return bounds


def _falling(function: Meaning) -> BoundsOf:
    """Case 1: bounds of a function that falls (weakly) in every argument."""

    def bounds(*args: Bounds, **attrs: str) -> Bounds:
        low = function(*(a[1] for a in args), **attrs)
        return low, function(*(a[0] for a in args), **attrs)

    return bounds


def _corners(function: Callable[[Array, Array], Array]) -> BoundsOf:
    """Case 2: bounds of a function that is monotone in each argument, either way."""

    def bounds(a: Bounds, b: Bounds) -> Bounds:
        values = [function(x, y) for x in a for y in b]
        low = values[0]
        high = values[0]
        unknown = np.isnan(values[0])
        for v in values[1:]:
            low, high = np.fmin(low, v), np.fmax(high, v)
            unknown = unknown | np.isnan(v)
        exact = (a[0] == a[1]) & (b[0] == b[1])
        wide = unknown & ~exact
        return _cast(np.where(wide, -np.inf, low), low), _cast(np.where(wide, np.inf, high), high)

    return bounds


def _cast(value: Array, like: Array) -> Array:
    return value.astype(like.dtype)


def _divide(a: Array, b: Array) -> Array:
    """Of integers towards zero, as ONNX defines it."""
    if np.result_type(a, b).kind not in "iu":
        return np.divide(a, b)
    with np.errstate(all="ignore"):
        down = a // b
    return down + ((down * b != a) & ((a < 0) != (b < 0)))


def _divide_bounds(a: Bounds, b: Bounds) -> Bounds:
    low, high = _corners(_divide)(a, b)
    crosses = (b[0] <= 0) & (b[1] >= 0) & (b[0] != b[1])
    if low.dtype.kind in "iu":
        ends = np.iinfo(low.dtype)
        return np.where(crosses, ends.min, low), np.where(crosses, ends.max, high)
    return _cast(np.where(crosses, -np.inf, low), low), _cast(np.where(crosses, np.inf, high), high)


def _subtract_bounds(a: Bounds, b: Bounds) -> Bounds:
    return np.subtract(a[0], b[1]), np.subtract(a[1], b[0])


def _abs_bounds(a: Bounds) -> Bounds:
    low, high = np.abs(a[0]), np.abs(a[1])
    crosses = (a[0] <= 0) & (a[1] >= 0)
    return np.where(crosses, _cast(np.zeros(1), low), np.minimum(low, high)), np.maximum(low, high)


def _where_bounds(c: Bounds, a: Bounds, b: Bounds) -> Bounds:
    surely, maybe = c[0].astype(bool), c[1].astype(bool)
    low = np.where(surely, a[0], np.where(maybe, np.minimum(a[0], b[0]), b[0]))
    high = np.where(surely, a[1], np.where(maybe, np.maximum(a[1], b[1]), b[1]))
    return low, high


def _greater(strict: bool) -> BoundsOf:
    test = np.greater if strict else np.greater_equal

    def bounds(a: Bounds, b: Bounds) -> Bounds:
        return test(a[0], b[1]), test(a[1], b[0])

    return bounds


def _less(strict: bool) -> BoundsOf:
    test = _greater(strict)
    return lambda a, b: test(b, a)


def _equal_bounds(a: Bounds, b: Bounds) -> Bounds:
    apart = (a[0] > b[1]) | (b[0] > a[1])
    exact = (a[0] == a[1]) & (b[0] == b[1])
    same = exact & (a[0] == b[0])
    return same, ~apart


def _not_equal_bounds(a: Bounds, b: Bounds) -> Bounds:
    low, high = _equal_bounds(a, b)
    return ~high, ~low


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-x))).astype(x.dtype)


def _float(value: float) -> relax.Expr:
    return tirx.const(value, "float32")


def _te_sign(x: relax.Expr) -> relax.Expr:
    """0 and NaN as they are."""
    return tirx.Select(x > 0, _float(1), tirx.Select(x < 0, _float(-1), x * _float(0)))


def _row(
    function: Meaning, bounds: Callable[[Meaning], BoundsOf], te: Expression | None = None
) -> Pointwise:
    return Pointwise(function, bounds(function), te)


def _astype(x: Array, dtype: str) -> Array:
    """Of a float beyond a 32 or 64-bit integer its end: what ONNX says nothing about."""
    to = np.dtype(dtype)
    if x.dtype.kind != "f" or to.kind not in "iu" or to.itemsize < 4:
        with np.errstate(invalid="ignore"):
            return x.astype(to)
    low, high = _ends(to)
    whole = np.where((x > low) & (x < high), x, x.dtype.type(0)).astype(to)
    ends = np.iinfo(to)
    return np.where(x >= high, to.type(ends.max), np.where(x <= low, to.type(ends.min), whole))


def _ends(to: np.dtype) -> tuple[float, float]:
    """Floats between these become integers of the type by cutting their fraction off."""
    ends = np.iinfo(to)
    return float(ends.min) - 1, float(ends.max) + 1


def _astype_bounds(x: Bounds, dtype: str) -> Bounds:
    """To bool all but 0 is true. Integers of few bits are all possible where the value is none."""
    low, high = x
    to = np.dtype(dtype)
    if to.kind == "b":
        return ~((low <= 0) & (high >= 0)), ~((low == 0) & (high == 0))
    first, last = _astype(low, dtype), _astype(high, dtype)
    wide = low.dtype.kind == "f" and to.itemsize >= 4
    if to.kind not in "iu" or low.dtype.kind == "b" or wide:
        return first, last
    ends = _ends(to)
    inside = (low > ends[0]) & (high < ends[1])
    least, most = (to.type(end) for end in (np.iinfo(to).min, np.iinfo(to).max))
    return np.where(inside, first, least), np.where(inside, last, most)


def _clip(x: Array, low: float, high: float) -> Array:
    return np.clip(x, np.asarray(low, x.dtype), np.asarray(high, x.dtype))


def _own(bounds: BoundsOf) -> Callable[[Meaning], BoundsOf]:
    """Case 3: bounds that follow from no property of the function."""
    return lambda _: bounds


TABLE: dict[str, Pointwise] = {
    "add": _row(np.add, _rising, lambda a, b: a + b),
    "subtract": _row(np.subtract, _own(_subtract_bounds), lambda a, b: a - b),
    "multiply": _row(np.multiply, _corners, lambda a, b: a * b),
    "divide": _row(_divide, _own(_divide_bounds), lambda a, b: a / b),
    "maximum": _row(np.maximum, _rising, lambda a, b: tirx.max(a, b)),
    "minimum": _row(np.minimum, _rising, lambda a, b: tirx.min(a, b)),
    "negative": _row(np.negative, _falling, lambda x: _float(0) - x),
    "abs": _row(np.abs, _own(_abs_bounds), lambda x: tirx.abs(x)),
    "sign": _row(np.sign, _rising, _te_sign),
    "floor": _row(np.floor, _rising, lambda x: tirx.floor(x)),
    "ceil": _row(np.ceil, _rising, lambda x: tirx.ceil(x)),
    "trunc": _row(np.trunc, _rising, lambda x: tirx.trunc(x)),
    "round": _row(np.rint, _rising, lambda x: tirx.nearbyint(x)),
    "tanh": _row(np.tanh, _rising),
    "sigmoid": _row(_sigmoid, _rising),
    "exp": _row(np.exp, _rising),
    "clip": _row(
        _clip, _rising, lambda x, low, high: tirx.max(tirx.min(x, _float(high)), _float(low))
    ),
    "nn.relu": _row(
        lambda x: np.maximum(x, x.dtype.type(0)), _rising, lambda x: tirx.max(x, _float(0))
    ),
    "greater": _row(np.greater, _own(_greater(True))),
    "greater_equal": _row(np.greater_equal, _own(_greater(False))),
    "less": _row(np.less, _own(_less(True))),
    "less_equal": _row(np.less_equal, _own(_less(False))),
    "equal": _row(np.equal, _own(_equal_bounds)),
    "not_equal": _row(np.not_equal, _own(_not_equal_bounds)),
    "logical_and": _row(np.logical_and, _rising),
    "logical_or": _row(np.logical_or, _rising),
    "logical_not": _row(np.logical_not, _falling),
    "where": _row(np.where, _own(_where_bounds)),
    "astype": _row(_astype, _own(_astype_bounds)),
}
"""Relax operator name (without ``relax.``) to its row."""


def attributes(name: str, call: relax.Call) -> dict[str, str]:
    """Keyword attributes that the row's functions take."""
    if name == "astype":
        return {"dtype": str(call.attrs.dtype).rsplit(".", 1)[-1]}
    return {}
