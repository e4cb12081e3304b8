"""PReLU and LeakyReLU as element-wise operators.

``prelu(x) = max(x, 0) + slope * min(x, 0)``: one of the two terms is 0, so these are the same
floats, and no axis is left that would have to move with the layout.

1. LeakyReLU: the slope is one number.
2. PReLU with one slope.
3. PReLU with a slope for each place along its axis: shaped to broadcast in the graph's own layout.

Refuses: other types than float32, slopes that are no constant.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import Placed, Value
from abc_tvm.relay_passes.passes.canonical.elementwise import apply
from abc_tvm.relay_passes.passes.canonical.walk import Walk, reads_float32
from abc_tvm.relay_passes.rewrite import const, op_name, shape_of


def prelu(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """``nn.prelu`` or ``nn.leakyrelu``."""
    slope = _slope(walk, call) if reads_float32(call) else None
    if slope is None:
        return None
    value = walk.get(call.args[0])
    zero = Placed(const(np.zeros((), np.float32)))
    above = apply(walk, "maximum", value, zero)
    below = apply(walk, "minimum", value, zero)
    return apply(walk, "add", above, apply(walk, "multiply", below, Placed(const(slope))))


def _slope(walk: Walk, call: relax.Call) -> np.ndarray | None:
    """Slope below zero, shaped to broadcast in the graph's own layout."""
    if op_name(call) == "nn.leakyrelu":
        return np.array(call.attrs.alpha, np.float32)  # 1
    array = walk.array(call.args[1])
    if array is None:
        return None
    if array.size == 1:
        return array.reshape(())  # 2
    rank = len(shape_of(call.args[0]))
    axis = int(call.attrs.axis) % rank
    return array.reshape([-1 if i == axis else 1 for i in range(rank)])  # 3
