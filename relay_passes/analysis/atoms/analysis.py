"""The atoms of every tensor of a graph: one walk over it, operator by operator.

Rules, beside those of :mod:`.atom_arithmetic`. Moving operators, pooling by maximum, Concat and
Where keep the atoms of what they read. A convolution of a window full of zeros yields 0; where
weights and inputs are whole multiples of short numbers, so are its sums, and so is an average.
A smooth function stands still only where its arguments do. Operators that are not known may yield
anything.

An unknown input that a convolution of short weights sums up is taken to be a multiple of 1/256:
sums of finer numbers are spread so densely that they count as continuous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.atoms.arithmetic import (
    Known,
    channels_of,
    element_wise,
    is_integer,
)
from abc_tvm.relay_passes.analysis.atoms.atoms import (
    ANYWHERE,
    NOWHERE,
    ZERO,
    Atoms,
    all_multiples,
    embedded,
    input_unit,
    integers,
    of_constant,
    product,
    pruned,
    together,
)
from abc_tvm.relay_passes.analysis.atoms.grids import (
    FAR,
    Grid,
    common_unit,
    multiples,
    points,
    sums,
)
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import array_of, constant, dtype_of, op_name, operands, shape_of

_SMOOTH = ("tanh", "sigmoid", "exp", "erf", "sqrt", "nn.gelu", "nn.gelu_tanh", "nn.silu", "power")
_SPREADING = ("nn.softmax", "nn.log_softmax", "nn.layer_norm", "nn.group_norm", "nn.instance_norm")
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

    def __init__(
        self, params: Sequence[relax.Var], exact: Callable[[relax.Var], Accumulator | None]
    ) -> None:
        self.exact = exact
        self.known = Known({p: _unknown(p) for p in params})

    def add(self, var: relax.Var, value: relax.Expr) -> None:
        """Take in one more binding."""
        self.known.bind(var, value)
        with np.errstate(all="ignore"):  # infinite values meet no threshold
            self.known.atoms[var] = self.rule(var, op_name(value), value)

    def of(self, expr: relax.Expr) -> Atoms:
        """Atoms of a variable, a constant or a tuple, of all its fields together."""
        return self.known.of(expr)

    def rule(self, var: relax.Var, name: str | None, value: relax.Expr) -> Atoms:
        """Atoms of ``var``, bound to ``value``, a call of the operator ``name`` if that is one."""
        if name is None:
            parts = [self.of(a) for a in operands(value)]
            return together(parts) if parts else ANYWHERE
        if name in pointwise.TABLE:
            return element_wise(self.known, var, name, value)
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
            return pruned(replace(kept.spread(), grids=(*kept.spread().grids, fill)))
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
            return product(*(self.of(a) for a in value.args))
        return ANYWHERE

    def smooth(self, name: str, call: relax.Call) -> Atoms:
        """Where an argument stands still the result does; all but powers keep 0 where it is."""
        parts = [self.of(a) for a in call.args if isinstance(a, relax.Var)]
        if not any(a.anywhere.any() or a.grids for a in parts):
            return NOWHERE
        at_zero = all(not np.any(g.unit) and not np.any(g.shift) for a in parts for g in a.grids)
        if name != "power" and at_zero and not any(a.anywhere.any() for a in parts):
            return ZERO
        return replace(ANYWHERE, loose=any(a.loose for a in parts))

    def concat(self, call: relax.Call) -> Atoms:
        """Along the channels each input's atoms stay in its own; else all are anywhere."""
        fields = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
        parts = [self.of(f) for f in fields]
        sizes = [channels_of(f) for f in fields]
        axis = int(call.attrs.axis) if call.attrs.axis is not None else 0
        rank = len(shape_of(fields[0])) if fields else 0
        if not fields:
            return self.of(call.args[0]).spread()
        if axis % rank != rank - 1 or None in sizes:
            return together(parts)
        total, start = sum(s or 0 for s in sizes), 0
        grids: list[Grid] = []
        anywhere = np.zeros(total, bool)
        for part, size in zip(parts, sizes, strict=True):
            place = slice(start, start + (size or 0))
            anywhere[place] = part.anywhere
            grids += [embedded(g, place, total) if g.aligned else g for g in part.grids]
            start = place.stop
        return pruned(Atoms(anywhere, tuple(grids), any(p.loose for p in parts)))

    def average(self, name: str, call: relax.Call) -> Atoms:
        """Sums and averages: multiples stay multiples, of the unit by the number of terms."""
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
        unit, most = input_unit(kept)
        grids = [] if unit is None else [all_multiples(unit, most * count, divisor)]
        same = [g for g in kept.grids if not np.any(g.unit)] if name != "sum" else []
        return replace(kept, grids=(*grids, *same))

    def convolution(self, var: relax.Var, call: relax.Call) -> Atoms:
        """Exact sums; else 0 where a window may be all zeros, and multiples of short numbers."""
        exact = self.exact(var) if op_name(call) == "abc.bconv2d" else None
        if exact is not None:
            grid = sums(exact.scale, exact.bound, exact.even)
            return Atoms(np.array([False]), (grid,), False)
        weight = constant(call.args[3 if op_name(call) == "abc.bconv2d" else 1])
        data = self.of(call.args[0])
        plain = op_name(call) == "nn.conv2d"
        if weight is None or (plain and str(call.attrs.data_layout) != "NHWC"):
            return product(data, ANYWHERE if weight is None else of_constant(weight))
        window = conv_window(call)
        rows = weight.reshape(len(weight), -1)
        outside = any(
            p >= (k - 1) * d + 1
            for p, k, d in zip(window.padding, window.kernel * 2, window.dilation * 2, strict=True)
        )
        grids = []
        if outside or data.zero() or not np.all(np.any(rows, axis=1)):
            grids.append(points(np.zeros(1)))
        unit, most = input_unit(data)
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


def _unknown(param: relax.Var) -> Atoms:
    dtype = dtype_of(param)
    if dtype == "bool" or is_integer(dtype):
        return Atoms(np.array([False]), (integers(),), False)
    return ANYWHERE
