"""Batch normalisation as Multiply and Add.

``gamma * (x - mean) / sqrt(var + eps) + beta = x * scale + shift`` with
``scale = 1 / sqrt(var + eps) * gamma`` and ``shift = beta - mean * scale``, in float32 and in this
order, which is onnxruntime's.

1. ``scale`` and ``center`` of the operator say whether gamma and beta count; else they are 1 and 0.
2. The constants stand along axis 1 of the graph's own layout, and move with it.
3. The operator's tuple keeps the running mean and variance that it was given.

Refuses: statistics that are no constant, another axis than 1, other types than float32.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import Placed, Value, graph_rank
from abc_tvm.relay_passes.passes.canonical.elementwise import apply
from abc_tvm.relay_passes.passes.canonical.walk import Walk, reads_float32
from abc_tvm.relay_passes.rewrite import const


def batch_norm(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """``nn.batch_norm``, whose first field is the result."""
    arrays = [walk.array(a) for a in call.args[1:]]
    statistics = [np.asarray(array, np.float32) for array in arrays if array is not None]
    if len(statistics) < len(arrays) or int(call.attrs.axis) != 1 or not reads_float32(call):
        return None
    gamma, beta, mean, variance = statistics
    if not call.attrs.scale:  # 1
        gamma = np.ones_like(gamma)
    if not call.attrs.center:
        beta = np.zeros_like(beta)
    scale = (1 / np.sqrt(variance + np.float32(call.attrs.epsilon))).astype(np.float32) * gamma
    shift = beta - mean * scale
    value = walk.tensor(call.args[0])
    shape = (1, -1) + (1,) * (graph_rank(value) - 2)  # 2
    scaled = apply(walk, "multiply", value, Placed(const(scale.reshape(shape))))
    shifted = apply(walk, "add", scaled, Placed(const(shift.reshape(shape))))
    walk.tuples[var] = [shifted, Placed(call.args[3]), Placed(call.args[4])]  # 3
    return shifted
