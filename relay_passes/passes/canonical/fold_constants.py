"""Operators of constants alone become constants.

1. Element-wise operators, by their NumPy meaning (:mod:`.pointwise`).
2. IsNaN.
3. Transposes.
4. Reshape, Squeeze and Unsqueeze.
5. Where, of a condition that is the same everywhere: one of its branches. The importer asks so
   whether a stored index of Gather is negative.

Other operators of constants are left to what reads them, which asks for a constant or does not.

Example: ``multiply(reshape(const [4]), 2)`` becomes one constant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.layout import Placed, Value, same_shape
from abc_tvm.relay_passes.passes.canonical.walk import Walk
from abc_tvm.relay_passes.rewrite import const, dtype_of, op_name, shape_of

_RESHAPES = ("reshape", "squeeze", "expand_dims")


def fold_constants(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """A constant, if all that ``call`` reads is constant and the operator is known."""
    name = op_name(call)
    if name is None or not (name in pointwise.TABLE or name in _OTHERS):
        return None
    if name == "where":
        condition = walk.array(call.args[0])
        if condition is not None and np.all(condition == condition.reshape(-1)[:1]):  # 5
            branch = call.args[1 if condition.reshape(-1)[:1].all() else 2]
            value = walk.array(branch)
            if value is not None and same_shape(value.shape, shape_of(var)):
                return Placed(const(value))
    arrays = []
    for arg in call.args:
        if isinstance(arg, relax.ShapeExpr):
            continue
        array = walk.array(arg)
        if array is None:
            return None
        arrays.append(array)
    if name in pointwise.TABLE:  # 1
        folded = evaluated(name, call, arrays)
    elif name == "isnan":  # 2
        folded = np.isnan(arrays[0])
    elif name == "permute_dims":  # 3
        axes = call.attrs.axes
        folded = arrays[0].transpose(None if axes is None else [int(a) for a in axes])
    else:  # 4
        folded = arrays[0].reshape([int(d) for d in shape_of(var)])
    return Placed(const(folded.astype(dtype_of(var))))


_OTHERS = ("isnan", "permute_dims", *_RESHAPES)


def evaluated(name: str, call: relax.Call, args: Sequence[np.ndarray]) -> np.ndarray:
    """An element-wise operator on constants."""
    row = pointwise.TABLE[name]
    with np.errstate(all="ignore"):
        return np.asarray(row.numpy(*args, **pointwise.attributes(name, call)))
