"""Which values a tensor takes with a probability above zero: its atoms.

A value that is spread continuously meets a threshold by accident. A value with an atom there meets
it all the time, and must have the graph's own level (``Sign(0)`` is 0). This analysis walks over
the graph once and says of every tensor:

* ``anywhere``: any value may be an atom. So it is with network inputs, of which nothing is known.
* ``grids``: families of single values (see :mod:`.grids`): bounds of ReLU, Clip, Max and Min, what
  Pad writes, levels of steps, the integers behind Cast, Round and comparisons, and every
  ``alpha * D`` of an exact integer sum.
* ``loose``: whether there is a continuous part beside them.

Rules. Moving operators, pooling by maximum, Concat and Where keep the atoms of what they read.
The sum of two tensors has the sums of their atoms: a continuous part makes a sum continuous. A
convolution of a window full of zeros yields 0; where weights and inputs are whole multiples of
short numbers, so are its sums. A sum of two functions of one tensor (``x - x``) may stand still
anywhere. Operators that are not known may yield anything.

An unknown input that a convolution of short weights sums up is taken to be a multiple of 1/256:
sums of finer numbers are spread so densely that they count as continuous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from . import pointwise
from .accumulator import Accumulator
from .grids import (
    FAR,
    MOST_GRIDS,
    Grid,
    added,
    common_unit,
    mapped,
    multiples,
    points,
    sums,
)
from .ops import conv_window
from .rewrite import array_of, constant, dtype_of, op_name, operands, shape_of

FINEST = 2.0**-8
"""What unknown inputs are multiples of, where sums of them are asked for."""

MOST_POINTS = 1024
"""Constants of more values count as spread out."""


@dataclass(frozen=True)
class Atoms:
    """See the module's text. ``anywhere`` bool ``[1]`` or ``[C]``."""

    anywhere: np.ndarray
    grids: tuple[Grid, ...] = ()
    loose: bool = True

    def at(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """bool ``[C]``: whether an atom may lie in ``first .. last`` (float32 ``[C]``)."""
        found = np.broadcast_to(self.anywhere, first.shape).copy()
        for grid in self.grids:
            if found.all():
                break
            found |= grid.hits(first, last)
        return found

    def zero(self) -> bool:
        """Whether 0 may be an atom in any channel."""
        width = max([len(self.anywhere)] + [g.count for g in self.grids if g.aligned])
        zero = np.zeros(width, np.float32)
        return bool(self.at(zero, zero).any())

    def spread(self) -> Atoms:
        """The same atoms in every channel: what is left where channels move."""
        return Atoms(
            np.array([self.anywhere.any()]), tuple(g.everywhere() for g in self.grids), self.loose
        )


NOWHERE = Atoms(np.array([False]))
ANYWHERE = Atoms(np.array([True]))

_SMOOTH = ("tanh", "sigmoid", "exp", "erf", "sqrt", "nn.gelu", "nn.gelu_tanh", "nn.silu", "power")
_SPREADING = ("nn.softmax", "nn.log_softmax", "nn.layer_norm", "nn.group_norm", "nn.instance_norm")
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
_MOVING = (
    "permute_dims",
    "reshape",
    "squeeze",
    "expand_dims",
    "broadcast_to",
    "flatten",
    "strided_slice",
    "take",
    "split",
    "flip",
    "tile",
    "repeat",
    "stack",
    "nn.max_pool2d",
    "dynamic_strided_slice",
    "gather_elements",
    "gather_nd",
    "max",
    "min",
    "nn.dropout",
)
_AVERAGES = ("mean", "nn.avg_pool2d", "nn.adaptive_avg_pool2d", "sum")


class AtomAnalysis:
    """Atoms of the tensors of a function, binding by binding, in order.

    ``exact(var)`` is the integer form of a convolution, where it has one.
    """

    def __init__(self, params: list[Any], exact: Callable[[Any], Accumulator | None]) -> None:
        self.exact = exact
        self.found: dict[Any, Atoms] = {p: _unknown(p) for p in params}
        self.calls: dict[Any, Any] = {}
        self.leaves: dict[Any, frozenset[Any]] = {}

    def add(self, var: Any, value: Any) -> None:
        """Take in one more binding."""
        self.calls[var] = value
        name = op_name(value)
        if name in pointwise.TABLE:
            own: frozenset[Any] = frozenset()
            for arg in value.args:
                if isinstance(arg, relax.Var):
                    own = own | self.behind(arg)
            self.leaves[var] = own
        with np.errstate(all="ignore"):  # infinite values meet no threshold
            self.found[var] = self.rule(var, name, value)

    def of(self, expr: Any) -> Atoms:
        """Atoms of an expression; see :class:`Atoms`."""
        array = constant(expr)
        if array is not None:
            return _of_constant(array)
        if isinstance(expr, relax.Tuple):
            return _together([self.of(field) for field in expr.fields])
        return self.found.get(expr, ANYWHERE)

    def behind(self, var: Any) -> frozenset[Any]:
        """The tensors that a variable is an element-wise function of."""
        return self.leaves.get(var, frozenset((var,)))

    # ---- operators --------------------------------------------------------------------

    def rule(self, var: Any, name: str | None, value: Any) -> Atoms:
        if name is None:
            parts = [self.of(a) for a in operands(value)]
            return _together(parts) if parts else ANYWHERE
        if name in pointwise.TABLE:
            return self.element_wise(var, name, value)
        if name in ("abc.bconv2d", "nn.conv2d"):
            return self.convolution(var, value)
        if name in ("abc.step", "abc.count_step"):
            return Atoms(np.array([False]), (points(np.unique(array_of(value.args[3]))),), False)
        if name == "concat":
            return self.concat(value)
        if name == "nn.pad":
            kept = self.of(value.args[0])
            if str(value.attrs.pad_mode) != "constant":
                return kept.spread()
            fill = points(np.array([float(value.attrs.pad_value)], np.float32))
            return _pruned(replace(kept.spread(), grids=(*kept.spread().grids, fill)))
        if name in _MOVING:
            first = self.of(value.args[0])
            return first if name == "nn.max_pool2d" else first.spread()
        if name in _AVERAGES:
            return self.average(name, value)
        if name == "image.resize2d":
            first = self.of(value.args[0])
            if str(value.attrs.method) == "nearest_neighbor":
                return first
            return ANYWHERE if first.grids or first.anywhere.any() else NOWHERE
        if name in _SMOOTH:
            return self.smooth(name, value)
        if name in _SPREADING:
            return NOWHERE
        if name == "matmul":
            return self.product(*(self.of(a) for a in value.args))
        return ANYWHERE

    def smooth(self, name: str, call: Any) -> Atoms:
        """Where an argument stands still the result does; all but powers keep 0 where it is."""
        parts = [self.of(a) for a in call.args if isinstance(a, relax.Var)]
        if not any(a.anywhere.any() or a.grids for a in parts):
            return NOWHERE
        at_zero = all(not np.any(g.unit) and not np.any(g.shift) for a in parts for g in a.grids)
        if name != "power" and at_zero and not any(a.anywhere.any() for a in parts):
            return _zero()
        return replace(ANYWHERE, loose=any(a.loose for a in parts))

    def element_wise(self, var: Any, name: str, call: Any) -> Atoms:
        if name in _TRUTH:
            return Atoms(np.array([False]), (points(np.array([0.0, 1.0])),), False)
        if name == "where":
            return _together([self.of(a) for a in call.args[1:]])
        channels = _channels(var)
        if name == "sign":
            zero = np.zeros(channels or 1, np.float32)
            tie = self.of(call.args[0]).at(zero, zero).any()
            return Atoms(np.array([False]), (points(np.array([-1.0, 1, 0][: 2 + tie])),), False)
        if name in _WHOLE:
            return Atoms(np.array([False]), (_integers(),), False)
        args = list(call.args)
        if name == "astype":
            if _is_integer(dtype_of(var)) and not _is_integer(dtype_of(args[0])):
                return Atoms(np.array([False]), (_integers(),), False)
            return self.of(args[0])
        if name in ("maximum", "minimum", "clip", "nn.relu"):
            return self.bounded(name, call)
        if name == "abs":
            kept = self.of(args[0])
            both = [
                mapped(g, np.abs, _one(s), _one(0), channels) for g in kept.grids for s in (1, -1)
            ]
            return _pruned(replace(kept, grids=tuple(g for g in both if g is not None)))
        if name == "negative":
            return self.scaled(self.of(args[0]), np.negative, _one(-1.0), _one(0.0), channels)
        if name in ("add", "subtract", "multiply", "divide"):
            return self.arithmetic(name, call, channels)
        kept = self.of(args[0])  # tanh and its like: even where they are level
        ends = {"tanh": [-1.0, 1.0], "sigmoid": [0.0, 1.0], "exp": [0.0]}.get(name, [])
        if kept.anywhere.any() or any(np.any(g.unit) for g in kept.grids):
            return replace(ANYWHERE, loose=kept.loose)
        function = pointwise.TABLE[name].numpy
        grids = [mapped(g, function, _one(1), _one(0), channels) for g in kept.grids]
        level = [points(np.array(ends))] if ends else []
        return Atoms(np.array([False]), (*(g for g in grids if g is not None), *level), kept.loose)

    def bounded(self, name: str, call: Any) -> Atoms:
        parts = [self.of(call.args[0])]
        if name == "nn.relu":
            parts.append(_zero())
        elif name == "clip":
            ends = [float(a.value) for a in call.args[1:]]
            parts.append(Atoms(np.array([False]), (points(np.array(ends)),), False))
        else:
            parts.append(self.of(call.args[1]))
        return _together(parts)

    def arithmetic(self, name: str, call: Any, channels: int | None) -> Atoms:
        a, b = call.args
        fixed = [constant(a), constant(b)]
        if fixed[1] is not None or (fixed[0] is not None and name != "divide"):
            return self.with_constant(name, call, fixed, channels)
        first, second = self.of(a), self.of(b)
        if name in ("multiply", "divide"):
            if name == "divide":
                known = first.grids or second.grids or first.anywhere.any() or second.anywhere.any()
                return ANYWHERE if known else NOWHERE
            return self.product(first, second)
        shared = self.behind(a) & self.behind(b) if _are_vars(a, b) else frozenset()
        if shared and (first.loose or second.loose):
            return self.correlated(name, a, b, first, channels)
        if name == "subtract":
            second = self.scaled(second, np.negative, _one(-1.0), _one(0.0), channels)
        return _sum(first, second)

    def correlated(self, name: str, a: Any, b: Any, first: Atoms, channels: int | None) -> Atoms:
        """The sum of two functions of one tensor."""
        if a.same_as(b):
            if name == "subtract":
                return replace(_zero(), loose=False)
            return self.scaled(first, lambda x: x + x, _one(2.0), _one(0.0), None)
        source = _prelu_source(a, b, self.calls) if name == "add" else None
        slope = None if source is None else _per_channel(source[1], channels)
        if source is None or slope is None:
            return ANYWHERE
        kept, s = self.of(source[0]), slope.astype(np.float32)

        def prelu(x: np.ndarray) -> np.ndarray:
            return np.maximum(x, np.float32(0)) + s * np.minimum(x, np.float32(0))

        ways = (_one(1.0), slope.astype(np.float64))
        parts = [self.scaled(kept, prelu, way, _one(0.0), channels) for way in ways]
        return _together(parts if np.all(slope) else [*parts, _zero()])

    def with_constant(
        self, name: str, call: Any, fixed: list[np.ndarray | None], channels: int | None
    ) -> Atoms:
        right = fixed[1] is not None
        array = fixed[1] if right else fixed[0]
        kept = self.of(call.args[0 if right else 1])
        if array is None:
            return ANYWHERE
        values = _per_channel(array, channels)
        if values is None:  # another constant at every pixel
            values = np.unique(array)
            if not (kept.grids or kept.anywhere.any()):
                return kept if name in ("add", "subtract") or np.all(values) else ANYWHERE
            return ANYWHERE
        wide, one = values.astype(np.float64), np.ones(1)
        c = values.astype(np.float32)
        if name == "add":
            return self.scaled(kept, lambda x: x + c, one, wide, channels)
        if name == "subtract":
            if right:
                return self.scaled(kept, lambda x: x - c, one, -wide, channels)
            return self.scaled(kept, lambda x: c - x, -one, wide, channels)
        if name == "divide":
            with np.errstate(all="ignore"):
                wide = np.where(wide == 0, np.nan, 1 / wide)
            return self.scaled(kept, lambda x: x / c, wide, 0 * one, channels)
        out = self.scaled(kept, lambda x: x * c, wide, 0 * one, channels)
        if np.any(c == 0):  # whatever comes in, 0 goes out
            still = points(np.zeros(len(c)), len(c) > 1)
            still = replace(still, high=np.where(c == 0, 0, -1))
            return replace(out, grids=(*out.grids, still))
        return out

    def scaled(
        self,
        kept: Atoms,
        function: Any,
        scale: np.ndarray,
        offset: np.ndarray,
        channels: int | None,
    ) -> Atoms:
        grids = [mapped(g, function, scale, offset, channels) for g in kept.grids]
        if any(g is None for g in grids):
            return replace(ANYWHERE, loose=kept.loose)
        return replace(kept, grids=tuple(g for g in grids if g is not None))

    def product(self, first: Atoms, second: Atoms) -> Atoms:
        """Products, or sums of them: 0 where a factor is 0; whole numbers where both are."""
        if not (first.loose or second.loose):
            return replace(ANYWHERE, loose=False)
        sides = (first, second)
        if all(s.anywhere.any() or s.grids for s in sides):
            return ANYWHERE
        return _zero() if any(s.zero() for s in sides) else NOWHERE

    def concat(self, call: Any) -> Atoms:
        fields = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
        parts = [self.of(f) for f in fields]
        sizes = [_channels(f) for f in fields]
        axis = int(call.attrs.axis) if call.attrs.axis is not None else 0
        rank = len(shape_of(fields[0])) if fields else 0
        if not fields:
            return self.of(call.args[0]).spread()
        if axis % rank != rank - 1 or None in sizes:
            return _together(parts)
        total, start = sum(s or 0 for s in sizes), 0
        grids: list[Grid] = []
        anywhere = np.zeros(total, bool)
        for part, size in zip(parts, sizes, strict=True):
            place = slice(start, start + (size or 0))
            anywhere[place] = part.anywhere
            grids += [_embedded(g, place, total) if g.aligned else g for g in part.grids]
            start = place.stop
        return _pruned(Atoms(anywhere, tuple(grids), any(p.loose for p in parts)))

    def average(self, name: str, call: Any) -> Atoms:
        kept = self.of(call.args[0])
        dims = shape_of(call.args[0])
        if not kept.grids and not kept.anywhere.any():
            return NOWHERE
        if kept.anywhere.any() or not all(isinstance(d, int) for d in dims[1:]):
            return ANYWHERE
        if name in ("mean", "sum"):
            axes = [int(a) % len(dims) for a in call.attrs.axis or range(len(dims))]
            if any(not isinstance(dims[a], int) for a in axes):
                return ANYWHERE
            count = int(np.prod([dims[a] for a in axes]))
            if len(dims) - 1 in axes:
                kept = kept.spread()
        elif name == "nn.avg_pool2d":
            count = int(np.prod([int(p) for p in call.attrs.pool_size]))
            if any(int(p) for p in call.attrs.padding) and not call.attrs.count_include_pad:
                return ANYWHERE
        else:
            count = int(dims[1]) * int(dims[2])
        divisor = 1 if name == "sum" else count
        if len(kept.grids) == 1 and not np.any(kept.grids[0].shift):
            g = kept.grids[0]
            whole = multiples(
                g.unit, g.low * count, g.high * count, aligned=g.aligned, parts=divisor
            )
            return replace(kept, grids=(whole,))
        unit, most = _input_unit(kept)
        grids = [] if unit is None else [_all_multiples(unit, most * count, divisor)]
        same = [g for g in kept.grids if not np.any(g.unit)] if name != "sum" else []
        return replace(kept, grids=(*grids, *same))

    def convolution(self, var: Any, call: Any) -> Atoms:
        exact = self.exact(var) if op_name(call) == "abc.bconv2d" else None
        if exact is not None:
            grid = sums(exact.scale, exact.bound, exact.even)
            return Atoms(np.array([False]), (grid,), False)
        weight = constant(call.args[3 if op_name(call) == "abc.bconv2d" else 1])
        data = self.of(call.args[0])
        plain = op_name(call) == "nn.conv2d"
        if weight is None or (plain and str(call.attrs.data_layout) != "NHWC"):
            return self.product(data, ANYWHERE if weight is None else _of_constant(weight))
        window = conv_window(call)
        rows = weight.reshape(len(weight), -1)
        outside = any(
            p >= (k - 1) * d + 1
            for p, k, d in zip(window.padding, window.kernel * 2, window.dilation * 2, strict=True)
        )
        grids = []
        if outside or data.zero() or not np.all(np.any(rows, axis=1)):
            grids.append(points(np.zeros(1)))
        unit, most = _input_unit(data)
        step = common_unit(rows[:, :64].T) if unit is not None else np.array([np.nan])
        if unit is not None and np.all(np.isfinite(step)):
            step = common_unit(rows.T)
            known = np.isfinite(step) & (step > 0)
            reach = np.abs(rows).sum(1, dtype=np.float64) / np.where(known, step, 1) * most
            high = np.where(known, np.minimum(reach, FAR), -1).astype(np.int64)
            low = np.where(known, -high, 0)
            both = (np.where(known, step, 1) * unit).astype(np.float32)
            if not np.all(np.isfinite(both)):
                return ANYWHERE
            grids.append(multiples(both, low, high, aligned=True))
        return Atoms(np.array([False]), tuple(grids))


def _unknown(param: Any) -> Atoms:
    dtype = dtype_of(param)
    if dtype == "bool" or _is_integer(dtype):
        return Atoms(np.array([False]), (_integers(),), False)
    return ANYWHERE


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def _integers() -> Grid:
    return _all_multiples(1.0, 2.0**31, 1)


def _all_multiples(unit: float, most: float, parts: int) -> Grid:
    high = np.array([min(most, FAR)]).astype(np.int64)
    return multiples(np.array([unit]), -high, high, aligned=False, parts=parts)


def _zero() -> Atoms:
    return Atoms(np.array([False]), (points(np.zeros(1)),))


def _one(value: float) -> np.ndarray:
    return np.array([value], np.float64)


def _are_vars(*args: Any) -> bool:
    return all(isinstance(a, relax.Var) for a in args)


def _channels(expr: Any) -> int | None:
    dims = shape_of(expr) if hasattr(expr.ty, "shape") else ()
    return dims[-1] if dims and isinstance(dims[-1], int) else None


def _per_channel(array: np.ndarray, channels: int | None) -> np.ndarray | None:
    if array.size == 1:
        return array.reshape(1)
    if array.shape[-1] == array.size == channels:
        return array.reshape(-1)
    return None


def _of_constant(array: np.ndarray) -> Atoms:
    if array.dtype == bool:
        array = array.astype(np.float32)
    if array.size > 1 and array.shape[-1] == array.size:
        return Atoms(np.array([False]), (points(array.reshape(-1), True),), False)
    values = np.unique(array)
    if len(values) > MOST_POINTS:
        return _zero() if np.any(values == 0) else NOWHERE
    return Atoms(np.array([False]), (points(values),), False)


def _together(parts: list[Atoms]) -> Atoms:
    """Whatever one of several tensors may be."""
    anywhere = parts[0].anywhere
    for part in parts[1:]:
        same = len(part.anywhere) == len(anywhere) or 1 in (len(part.anywhere), len(anywhere))
        anywhere = (
            anywhere | part.anywhere if same else np.array([anywhere.any() or part.anywhere.any()])
        )
    widths = {g.count for p in parts for g in p.grids if g.aligned}
    grids = tuple(g if len(widths) < 2 else g.everywhere() for p in parts for g in p.grids)
    return _pruned(Atoms(anywhere, grids, any(p.loose for p in parts)))


def _sum(a: Atoms, b: Atoms) -> Atoms:
    """Sums of values that know nothing of one another."""
    free = [x.anywhere.any() and (y.anywhere.any() or bool(y.grids)) for x, y in ((a, b), (b, a))]
    if any(free):
        return replace(ANYWHERE, loose=a.loose or b.loose)
    grids: list[Grid] = []
    for one in a.grids:
        for other in b.grids:
            both = added(one, other)
            if both is None:
                return replace(ANYWHERE, loose=a.loose or b.loose)
            grids += both
    return _pruned(Atoms(np.array([False]), tuple(grids), a.loose or b.loose))


def _pruned(atoms: Atoms) -> Atoms:
    """No more grids than are worth following: those of short numbers become one."""
    if len(atoms.grids) <= MOST_GRIDS:
        return atoms
    unit, most = _input_unit(replace(atoms, anywhere=np.array([False])))
    grids = () if unit is None else (_all_multiples(unit, most, 1),)
    return replace(atoms, grids=grids)


def _input_unit(atoms: Atoms) -> tuple[float | None, float]:
    """``(unit, most)``: atoms that are short numbers are ``unit * k`` with ``|k| <= most``."""
    if atoms.anywhere.any():
        return FINEST, 2.0**20
    numbers, top = [], 0.0
    for grid in atoms.grids:
        there = grid.low <= grid.high
        pair = np.stack([grid.unit[there], grid.shift[there]])
        columns = np.unique(pair, axis=1)
        numbers.append(columns[:, np.isfinite(common_unit(columns)) & columns.any(0)].reshape(-1))
        top = max(top, grid.largest())
    values = np.concatenate(numbers) if numbers else np.zeros(0)
    if not values.size:
        return None, 0.0
    unit = float(common_unit(values))
    return (unit, top / unit) if np.isfinite(unit) and unit > 0 else (None, 0.0)


def _embedded(grid: Grid, place: slice, total: int) -> Grid:
    """A grid of some channels among all."""

    def wide(values: np.ndarray, fill: int) -> np.ndarray:
        out = np.full(total, fill, values.dtype)
        out[place] = values
        return out

    inner = grid.value

    def value(k: np.ndarray) -> np.ndarray:
        out = np.full(k.shape, np.nan, np.float32)
        out[..., place] = inner(k[..., place])
        return out

    unit, shift = wide(grid.unit, 0), wide(grid.shift, 0)
    return Grid(unit, shift, wide(grid.low, 0), wide(grid.high, -1), value, True)


def _prelu_source(a: Any, b: Any, calls: dict[Any, Any]) -> tuple[Any, np.ndarray] | None:
    """``(x, slope)`` of ``max(x, 0) + slope * min(x, 0)``, in either order."""
    for above, below in ((a, b), (b, a)):
        top, scaled = calls.get(above), calls.get(below)
        if op_name(top) not in ("maximum", "nn.relu") or op_name(scaled) != "multiply":
            continue
        low, slope = calls.get(scaled.args[0]), constant(scaled.args[1])
        if op_name(low) != "minimum" or slope is None or not top.args[0].same_as(low.args[0]):
            continue
        bounds = [constant(call.args[1]) for call in (top, low) if len(call.args) > 1]
        if all(bound is not None and not np.any(bound) for bound in bounds):
            return top.args[0], slope
    return None
