"""Tensors that take few values, though no single tensor decides which.

A product of two Signs (XNOR) is 1 or -1, their maximum (OR) too, a sum of two -2, 0 or 2, and an
average of four one of five values. Such a tensor is a step function of itself: between two
neighbouring values lies a threshold, and each value is a level.

Known are the values

1. of constants;
2. of tensors that are step functions: their levels (comparisons, and inputs of bools: 0 and 1);
3. of element-wise operators on such, smooth functions too: what they make of all combinations;
4. of what only moves or picks values: the same (pooling by the maximum, moves);
5. of averages and sums over a window or the image: all that so many values may add up to, where
   these are evenly spaced. They are rounded once here, and perhaps otherwise at run time, so that a
   level may be off by a rounding, as any float sum is;
6. of the place of the largest or smallest along an axis: all of its places;
7. of what is rounded to whole numbers and has bounds (Softmax: 0 and 1): all of these between.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.pointwise import TABLE, attributes
from abc_tvm.relay_passes.analysis.steps.step_function import MAX_THRESHOLDS, StepFunction
from abc_tvm.relay_passes.rewrite import Definitions, constant, dtype_of, op_name, shape_of

MOST_VALUES = MAX_THRESHOLDS + 1
MOST_COMBINED = 1 << 16
DEEPEST = 48
"""Operators in a row that are followed."""

_TRUTH = frozenset(
    {
        *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
        *("logical_and", "logical_or", "logical_not", "logical_xor"),
    }
)
_STEPPED = frozenset({"sign", "round", "floor", "ceil", "trunc", "abc.step", "abc.count_step"})
"""Operators of which a step function may come."""

_CUT = frozenset({"clip", "maximum", "minimum"})
"""Operators that may leave few values of many."""

_ROUNDING = frozenset({"round", "floor", "ceil", "trunc"})

_SMOOTH: dict[str, Callable[..., np.ndarray]] = {
    "power": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
}
"""Element-wise functions that are no part of a chain, and so are computed as floats."""

_RANGES = {"nn.softmax": (0.0, 1.0)}
_BOUNDED = frozenset(
    {"abs", "add", "divide", "maximum", "minimum", "multiply", "negative", "subtract"}
)
"""Operators that are followed to where a range is known."""

_MOVING = frozenset(
    {
        *("permute_dims", "reshape", "squeeze", "expand_dims", "flatten", "broadcast_to"),
        *("strided_slice", "flip", "tile", "repeat"),
    }
)
"""Operators of which each value is one of their first argument's."""

Levels = Callable[[relax.Var], "np.ndarray | None"]
"""The levels of a tensor that is a step function of another, or was moved; else ``None``."""


class ValueSets:
    """Looks values up; each tensor once.

    ``stepped``: of tensors of case 2; ``moved``: of those that are moved (case 4).
    """

    def __init__(self, defined: Definitions, stepped: Levels, moved: Levels) -> None:
        self.defined, self.stepped, self.moved = defined, stepped, moved
        self.known: dict[relax.Var, np.ndarray | None] = {}

    def of(self, expr: relax.Expr, depth: int = 0) -> np.ndarray | None:
        """Ascending float32 values, at most :data:`MOST_VALUES`; ``None``: too many, or unknown."""
        array = constant(expr)
        if array is not None:
            return _few(np.unique(array))
        if not isinstance(expr, relax.Var) or depth > DEEPEST:
            return None
        if expr not in self.known:
            self.known[expr] = self.find(expr, depth + 1)
        return self.known[expr]

    def find(self, var: relax.Var, depth: int) -> np.ndarray | None:
        call = self.defined.get(var)
        name = op_name(call)
        if name in _TRUTH or (call is None and dtype_of(var) == "bool"):
            return np.array([0, 1], np.float32)
        if name in _STEPPED:
            found = self.stepped(var)
            if found is not None:
                return _few(np.unique(found))
        if name in _ROUNDING:
            return self.rounded(call, str(name), depth)
        if name in TABLE or name in _SMOOTH:
            made = self.combined(call, depth)
            if made is None and name in _CUT:
                found = self.stepped(var)
                return None if found is None else _few(np.unique(found))
            return made
        if call is None:
            return None
        if name == "nn.max_pool2d":
            return self.of(call.args[0], depth)
        if name in ("argmax", "argmin"):
            dims = shape_of(call.args[0])
            count = None if call.attrs.axis is None else dims[int(call.attrs.axis)]
            return _few(np.arange(count)) if isinstance(count, int) else None
        if name in ("nn.avg_pool2d", "mean", "sum"):
            return self.averaged(call, name, depth)
        found = self.moved(var)
        if found is not None:
            return _few(np.unique(found))
        return self.of(call.args[0], depth) if name in _MOVING else None

    def combined(self, call: relax.Call, depth: int) -> np.ndarray | None:
        """Case 3."""
        sets: list[np.ndarray] = []
        size = 1
        for arg in call.args:
            values = (
                self.of(arg, depth)
                if not hasattr(arg, "value") or constant(arg) is not None
                else np.array([float(arg.value)], np.float32)
            )
            if values is None:
                return None
            sets.append(values)
            size *= len(values)
        if size > MOST_COMBINED:
            return None
        name = str(op_name(call))
        rows = list(np.array(list(product(*sets)), np.float32).T)
        if name == "where":
            rows[0] = rows[0] != 0
        with np.errstate(all="ignore"):
            made = (
                _SMOOTH[name](*rows)
                if name in _SMOOTH
                else TABLE[name].numpy(*rows, **attributes(name, call))
            )
        return _few(np.unique(np.asarray(made, np.float32)))

    def rounded(self, call: relax.Call, name: str, depth: int) -> np.ndarray | None:
        """Case 7, or of few values what they are rounded to."""
        if self.of(call.args[0], depth) is not None:
            return self.combined(call, depth)
        limits = self.limits(call.args[0], depth)
        if limits is None:
            return None
        low, high = (float(TABLE[name].numpy(end)) for end in limits)
        return _few(np.arange(low, high + 1)) if high - low < MOST_VALUES else None

    def limits(self, expr: relax.Expr, depth: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The least and the largest value, float32 ``[]``, where both are known and finite."""
        values = self.of(expr, depth)
        if values is not None and len(values):
            return np.asarray(values.min()), np.asarray(values.max())
        call = self.defined.get(expr) if isinstance(expr, relax.Var) else None
        name = op_name(call)
        if call is None or depth > DEEPEST:
            return None
        if name in _RANGES:
            first, last = (np.asarray(end, np.float32) for end in _RANGES[name])
            return first, last
        if name in _MOVING or name in ("nn.max_pool2d", "nn.avg_pool2d", "mean"):
            return self.limits(call.args[0], depth + 1)
        if name not in _BOUNDED:
            return None
        parts = [self.limits(arg, depth + 1) for arg in call.args]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        with np.errstate(all="ignore"):
            low, high = TABLE[name].bounds(*known)
        return (low, high) if np.isfinite(low) and np.isfinite(high) else None

    def averaged(self, call: relax.Call, name: str, depth: int) -> np.ndarray | None:
        """Case 5."""
        values = self.of(call.args[0], depth)
        dims = shape_of(call.args[0])
        if values is None or len(values) < 2:
            return values if name != "sum" else None
        if name == "nn.avg_pool2d":
            pads = any(int(p) for p in call.attrs.padding)
            if pads or call.attrs.ceil_mode or str(call.attrs.layout) != "NHWC":
                return None
            count = int(np.prod([int(n) for n in call.attrs.pool_size]))
        else:
            axes = [int(a) % len(dims) for a in call.attrs.axis or range(len(dims))]
            if any(not isinstance(dims[a], int) for a in axes):
                return None
            count = int(np.prod([int(dims[a]) for a in axes]))
        step = np.diff(values.astype(np.float64))
        if np.any(np.abs(step - step[0]) > 2.0**-22 * np.abs(values).max()):
            return None
        total = (len(values) - 1) * count
        if total >= MOST_VALUES:
            return None
        sums = count * float(values[0]) + step[0] * np.arange(total + 1)
        return _few(np.unique((sums if name == "sum" else sums / count).astype(np.float32)))


def _few(values: np.ndarray) -> np.ndarray | None:
    kept = np.asarray(values, np.float32)
    return kept if len(kept) <= MOST_VALUES and np.all(np.isfinite(kept)) else None


def own_steps(values: np.ndarray, channels: int) -> StepFunction:
    """The step function of a tensor that takes ascending ``values`` alone."""
    levels = np.asarray(values, np.float32) + np.float32(0)
    if len(levels) == 1:  # a constant has a threshold that is never passed
        levels = np.append(levels, levels[0] + max(np.float32(1), np.abs(levels[0])))
        between = np.array([np.inf], np.float32)
    else:
        wide = levels.astype(np.float64)
        between = ((wide[1:] + wide[:-1]) / 2).astype(np.float32)
        # Of neighbouring floats the middle is one of them: the upper one.
        between = np.where(between <= levels[:-1], levels[1:], between)
    thresholds = np.repeat(between[:, None], channels, 1)
    return StepFunction(thresholds, np.ones(channels, np.int8), levels)
