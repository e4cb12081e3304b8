"""Atoms of element-wise operators.

1. Bounds (ReLU, Clip, Max, Min) and levels (sign, round, comparisons) are atoms of their own.
2. With a constant, and as another function of one tensor, atoms move as the operator moves them.
3. Of two tensors that know nothing of one another the sum has the sums of their atoms: a continuous
   part makes a sum continuous.
4. Of two functions of one tensor (``x - x``, ``relu(x) - x``) the sum may stand still anywhere; but
   ``x + x`` and PReLU, written out, are functions that are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.atoms.atoms import (
    ANYWHERE,
    NOWHERE,
    ZERO,
    Atoms,
    integers,
    of_constant,
    one,
    product,
    pruned,
    scaled,
    summed,
    together,
)
from abc_tvm.relay_passes.analysis.atoms.grids import mapped, points
from abc_tvm.relay_passes.rewrite import constant, dtype_of, op_name, shape_of

_TRUTH = (
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "equal",
    "not_equal",
    "isnan",
    "logical_and",
    "logical_or",
    "logical_not",
)
_WHOLE = ("round", "floor", "ceil", "trunc")


@dataclass
class Known:
    """What is known of the tensors before an operator.

    ``atoms`` of each, ``calls``: what they are bound to. ``leaves``: of results of element-wise
    operators, the tensors that they are functions of.
    """

    atoms: dict[relax.Var, Atoms]
    calls: dict[relax.Var, relax.Expr] = field(default_factory=dict)
    leaves: dict[relax.Var, frozenset[relax.Var]] = field(default_factory=dict)

    def bind(self, var: relax.Var, value: relax.Expr) -> None:
        """Take in a binding, before its atoms are asked for."""
        self.calls[var] = value
        if op_name(value) in pointwise.TABLE:
            own: frozenset[relax.Var] = frozenset()
            for arg in value.args:
                if isinstance(arg, relax.Var):
                    own = own | self.behind(arg)
            self.leaves[var] = own

    def of(self, expr: relax.Expr) -> Atoms:
        """Atoms of a variable, a constant or a tuple, of all its fields together."""
        array = constant(expr)
        if array is not None:
            return of_constant(array)
        if isinstance(expr, relax.Tuple):
            return together([self.of(field) for field in expr.fields])
        return self.atoms.get(expr, ANYWHERE)

    def behind(self, var: relax.Var) -> frozenset[relax.Var]:
        """The tensors that a variable is an element-wise function of."""
        return self.leaves.get(var, frozenset((var,)))


def element_wise(known: Known, var: relax.Var, name: str, call: relax.Call) -> Atoms:
    """Atoms of ``var``, which ``call`` of an operator of ``pointwise.TABLE`` binds."""
    if name in _TRUTH:  # 1
        return Atoms(np.array([False]), (points(np.array([0.0, 1.0])),), False)
    if name == "where":
        return together([known.of(a) for a in call.args[1:]])
    channels = channels_of(var)
    if name == "sign":  # 1
        zero = np.zeros(channels or 1, np.float32)
        tie = known.of(call.args[0]).at(zero, zero).any()
        return Atoms(np.array([False]), (points(np.array([-1.0, 1, 0][: 2 + tie])),), False)
    if name in _WHOLE:  # 1
        return Atoms(np.array([False]), (integers(),), False)
    args = list(call.args)
    if name == "astype":
        if is_integer(dtype_of(var)) and not is_integer(dtype_of(args[0])):
            return Atoms(np.array([False]), (integers(),), False)
        return known.of(args[0])
    if name in ("maximum", "minimum", "clip", "nn.relu"):  # 1
        return _bounded(known, name, call)
    if name == "abs":
        kept = known.of(args[0])
        both = [mapped(g, np.abs, one(s), one(0), channels) for g in kept.grids for s in (1, -1)]
        return pruned(replace(kept, grids=tuple(g for g in both if g is not None)))
    if name == "negative":
        return scaled(known.of(args[0]), np.negative, one(-1.0), one(0.0), channels)
    if name in ("add", "subtract", "multiply", "divide"):
        return _arithmetic(known, name, call, channels)
    kept = known.of(args[0])  # tanh and its like: even where they are level
    ends = {"tanh": [-1.0, 1.0], "sigmoid": [0.0, 1.0], "exp": [0.0]}.get(name, [])
    if kept.anywhere.any() or any(np.any(g.unit) for g in kept.grids):
        return replace(ANYWHERE, loose=kept.loose)
    function = pointwise.TABLE[name].numpy
    grids = [mapped(g, function, one(1), one(0), channels) for g in kept.grids]
    level = [points(np.array(ends))] if ends else []
    return Atoms(np.array([False]), (*(g for g in grids if g is not None), *level), kept.loose)


def _bounded(known: Known, name: str, call: relax.Call) -> Atoms:
    parts = [known.of(call.args[0])]
    if name == "nn.relu":
        parts.append(ZERO)
    elif name == "clip":
        ends = [float(a.value) for a in call.args[1:]]
        parts.append(Atoms(np.array([False]), (points(np.array(ends)),), False))
    else:
        parts.append(known.of(call.args[1]))
    return together(parts)


def _arithmetic(known: Known, name: str, call: relax.Call, channels: int | None) -> Atoms:
    a, b = call.args
    fixed = [constant(a), constant(b)]
    if fixed[1] is not None or (fixed[0] is not None and name != "divide"):
        return _with_constant(known, name, call, fixed, channels)  # 2
    first, second = known.of(a), known.of(b)
    if name in ("multiply", "divide"):
        if name == "divide":
            met = first.grids or second.grids or first.anywhere.any() or second.anywhere.any()
            return ANYWHERE if met else NOWHERE
        return product(first, second)
    shared = known.behind(a) & known.behind(b) if _are_vars(a, b) else frozenset()
    if shared and (first.loose or second.loose):
        return _correlated(known, name, a, b, first, channels)  # 4
    if name == "subtract":
        second = scaled(second, np.negative, one(-1.0), one(0.0), channels)
    return summed(first, second)  # 3


def _correlated(
    known: Known, name: str, a: relax.Var, b: relax.Var, first: Atoms, channels: int | None
) -> Atoms:
    """The sum of two functions of one tensor."""
    if a.same_as(b):
        if name == "subtract":
            return replace(ZERO, loose=False)
        return scaled(first, lambda x: x + x, one(2.0), one(0.0), None)
    source = _prelu_source(a, b, known.calls) if name == "add" else None
    slope = None if source is None else _per_channel(source[1], channels)
    if source is None or slope is None:
        return ANYWHERE
    kept, s = known.of(source[0]), slope.astype(np.float32)

    def prelu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, np.float32(0)) + s * np.minimum(x, np.float32(0))

    # Of both ways the function differs by channel.
    ways = (np.ones(len(slope)), slope.astype(np.float64))
    parts = [scaled(kept, prelu, way, one(0.0), channels) for way in ways]
    return together(parts if np.all(slope) else [*parts, ZERO])


def _with_constant(
    known: Known,
    name: str,
    call: relax.Call,
    fixed: list[np.ndarray | None],
    channels: int | None,
) -> Atoms:
    right = fixed[1] is not None
    array = fixed[1] if right else fixed[0]
    kept = known.of(call.args[0 if right else 1])
    if array is None:
        return ANYWHERE
    values = _per_channel(array, channels)
    if values is None:  # another constant at every pixel
        values = np.unique(array)
        if not (kept.grids or kept.anywhere.any()):
            return kept if name in ("add", "subtract") or np.all(values) else ANYWHERE
        return ANYWHERE
    wide, same = values.astype(np.float64), np.ones(1)
    c = values.astype(np.float32)
    if name == "add":
        return scaled(kept, lambda x: x + c, same, wide, channels)
    if name == "subtract":
        if right:
            return scaled(kept, lambda x: x - c, same, -wide, channels)
        return scaled(kept, lambda x: c - x, -same, wide, channels)
    if name == "divide":
        with np.errstate(all="ignore"):
            wide = np.where(wide == 0, np.nan, 1 / wide)
        return scaled(kept, lambda x: x / c, wide, 0 * same, channels)
    out = scaled(kept, lambda x: x * c, wide, 0 * same, channels)
    if np.any(c == 0):  # whatever comes in, 0 goes out
        still = points(np.zeros(len(c)), len(c) > 1)
        still = replace(still, high=np.where(c == 0, 0, -1))
        return replace(out, grids=(*out.grids, still))
    return out


def _prelu_source(
    a: relax.Var, b: relax.Var, calls: dict[relax.Var, relax.Expr]
) -> tuple[relax.Var, np.ndarray] | None:
    """``(x, slope)`` of ``max(x, 0) + slope * min(x, 0)``, in either order."""
    for above, below in ((a, b), (b, a)):
        top, scaled = calls.get(above), calls.get(below)
        if top is None or scaled is None:
            continue
        if op_name(top) not in ("maximum", "nn.relu") or op_name(scaled) != "multiply":
            continue
        low, slope = calls.get(scaled.args[0]), constant(scaled.args[1])
        if low is None or op_name(low) != "minimum" or slope is None:
            continue
        if not top.args[0].same_as(low.args[0]):
            continue
        bounds = [constant(call.args[1]) for call in (top, low) if len(call.args) > 1]
        if all(bound is not None and not np.any(bound) for bound in bounds):
            return top.args[0], slope
    return None


def _are_vars(*args: relax.Expr) -> bool:
    return all(isinstance(a, relax.Var) for a in args)


def is_integer(dtype: str) -> bool:
    """Whether a type, by NumPy's name, is one of whole numbers."""
    return dtype.startswith(("int", "uint"))


def channels_of(expr: relax.Expr) -> int | None:
    """Extent of the last axis, where it is a number."""
    dims = shape_of(expr) if hasattr(expr.ty, "shape") else ()
    return dims[-1] if dims and isinstance(dims[-1], int) else None


def _per_channel(array: np.ndarray, channels: int | None) -> np.ndarray | None:
    if array.size == 1:
        return array.reshape(1)
    if array.shape[-1] == array.size == channels:
        return array.reshape(-1)
    return None
