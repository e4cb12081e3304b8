"""Pools and means over the image, in NHWC.

1. Max and average pools of NCHW: the same window in NHWC.
2. An adaptive average of size 1x1 is the mean over the image.
3. A mean over H and W of what lies in NHWC is one over axes 1 and 2; without ``keepdims`` its
   result is ``[B, 1, 1, F]`` of a ``[B, F]`` tensor.

Refuses: pools of another layout, adaptive averages of other sizes, means over other axes.
"""

from __future__ import annotations

from tvm import relax

from abc_tvm.compute.geometry import pair
from abc_tvm.relay_passes.analysis.layout import Placed, Value
from abc_tvm.relay_passes.passes.canonical.walk import Walk
from abc_tvm.relay_passes.rewrite import hint, op_name

_OPERATORS = {
    "nn.max_pool2d": relax.op.nn.max_pool2d,
    "nn.avg_pool2d": relax.op.nn.avg_pool2d,
}


def pool(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """1: ``nn.max_pool2d`` or ``nn.avg_pool2d``."""
    attrs = call.attrs
    if str(attrs.layout) != "NCHW":
        return None
    expr = _OPERATORS[str(op_name(call))](
        walk.to.nhwc(walk.tensor(call.args[0])),
        pool_size=pair(attrs.pool_size),
        strides=pair(attrs.strides),
        padding=tuple(int(p) for p in attrs.padding),
        dilation=pair(attrs.dilation),
        ceil_mode=bool(attrs.ceil_mode),
        count_include_pad=bool(attrs.count_include_pad),
        layout="NHWC",
    )
    return Placed(walk.to.op(expr, hint(var)), "nhwc")


def average_of_image(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """2: ``nn.adaptive_avg_pool2d``."""
    if [int(d) for d in call.attrs.output_size or []] != [1, 1]:
        return None
    data = walk.to.nhwc(walk.tensor(call.args[0]))
    return Placed(walk.to.op(relax.op.mean(data, [1, 2], True)), "nhwc")


def mean_of_image(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """3: ``mean`` over H and W."""
    value = walk.get(call.args[0])
    axes = [int(a) for a in call.attrs.axis or []]
    if not isinstance(value, Placed) or value.kind != "nhwc":
        return None
    if sorted(a % 4 for a in axes) != [2, 3]:
        return None
    mean = walk.to.op(relax.op.mean(value.expr, [1, 2], True))
    return Placed(mean, "nhwc" if call.attrs.keepdims else "dense")
