"""Dense layers as convolutions, with the layer's name.

``[B, F] x [F, OC]`` with constant weights becomes

1. of a flattened image, a convolution as large as the image, whose kernel is the weight in the
   order of the flattening: packed bits never move;
2. of anything else a 1x1 convolution on ``[B, 1, 1, F]``.

3. ``[B, …, T, F] x [F, OC]``, of tokens, is a 1x1 convolution of the image ``[B, …, T, F]``.

Refuses: weights that are no constant matrix, inputs of another rank, other types than float32. A
product of two computed tensors stays one, with its name.

Example: ``matmul(reshape(x [B, C, H, W], [B, C * H * W]), w)`` becomes ``conv2d(x, w)`` with x in
NHWC and w as ``[OC, H, W, C]``.
"""

from __future__ import annotations

from math import prod

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import TO_NHWC, Placed, Value
from abc_tvm.relay_passes.passes.canonical.walk import Walk, reads_float32
from abc_tvm.relay_passes.rewrite import const, constant, hint, shape_of


def dense(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """``matmul`` of a rank-2 tensor and a matrix."""
    name = walk.names.next("dense")
    weight = walk.array(call.args[1])
    rank = len(shape_of(call.args[0]))
    if weight is None and not any(constant(a) is not None for a in call.args):
        args = [walk.plain(a) for a in call.args]
        product = relax.Call(call.op, args, call.attrs, call.ty_args)
        return Placed(walk.to.layer(product, name))
    if weight is None or weight.ndim != 2 or rank < 2 or not reads_float32(call):
        return None
    value = walk.tensor(call.args[0])
    if rank > 2:  # 3
        return _of_tokens(walk, walk.to.plain(value), weight, name)
    features = weight.shape[1]
    if value.kind in ("flat_chw", "flat_hwc"):  # 1
        _, h, w, c = shape_of(value.expr)
        order = (c, h, w) if value.kind == "flat_chw" else (h, w, c)
        kernel = weight.T.reshape(features, *order)
        if value.kind == "flat_chw":
            kernel = kernel.transpose(TO_NHWC)
        data = value.expr
    else:  # 2
        kernel = weight.T.reshape(features, 1, 1, -1)
        data = walk.to.dense(value)
    conv = relax.op.nn.conv2d(data, const(kernel), data_layout="NHWC", kernel_layout="OHWI")
    layer = walk.to.layer(conv, name)
    walk.dense.add(hint(layer))
    return Placed(layer, "dense")


def _of_tokens(walk: Walk, data: relax.Expr, weight: np.ndarray, name: str) -> Value | None:
    batch, *outer, tokens, features = shape_of(data)
    if not all(isinstance(extent, int) for extent in (*outer, tokens, features)):
        return None
    rows = prod(extent for extent in outer if isinstance(extent, int))
    if len(outer) != 1:
        data = walk.to.op(relax.op.reshape(data, (batch, rows, tokens, features)))
    kernel = weight.T.reshape(weight.shape[1], 1, 1, -1)
    conv = relax.op.nn.conv2d(data, const(kernel), data_layout="NHWC", kernel_layout="OHWI")
    layer = walk.to.layer(conv, name)
    walk.dense.add(hint(layer))
    if len(outer) == 1:
        return Placed(layer)
    shape = (batch, *outer, tokens, weight.shape[1])
    return Placed(walk.to.op(relax.op.reshape(layer, shape)))
