"""Convolutions in NHWC, with weights OHWI and the layer's name.

1. The input is read in NHWC, wherever it comes from.
2. The weights ``[OC, IC/g, KH, KW]`` are stored as ``[OC, KH, KW, IC/g]``.
3. Stride, padding, dilation and groups stay.

Refuses (it stays NCHW, and gets a reason where weights are recognised): weights that are no
constant, another layout, other types than float32. Its name is spent all the same, since names go
by the order of all convolutions.

Example: ``conv2d(x, w)`` on NCHW becomes ``conv2d(permute_dims(x, NHWC), w OHWI)``, read as NCHW.
"""

from __future__ import annotations

from tvm import relax

from abc_tvm.compute.geometry import pair
from abc_tvm.relay_passes.analysis.layout import TO_NHWC, Placed, Value
from abc_tvm.relay_passes.passes.canonical.walk import Walk, reads_float32
from abc_tvm.relay_passes.rewrite import const


def convolution(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """``nn.conv2d`` of NCHW."""
    name = walk.names.next("conv")
    return nhwc_convolution(walk, walk.get(call.args[0]), call, name)


def nhwc_convolution(walk: Walk, data: Value, call: relax.Call, name: str) -> Placed | None:
    """The convolution ``call`` of ``data``, as the layer ``name``."""
    weight = walk.array(call.args[1])
    if weight is None or str(call.attrs.data_layout) != "NCHW" or not reads_float32(call):
        return None
    conv = relax.op.nn.conv2d(
        walk.to.nhwc(walk.one(data)),  # 1
        const(weight.transpose(TO_NHWC)),  # 2
        strides=pair(call.attrs.strides),  # 3
        padding=tuple(int(p) for p in call.attrs.padding),
        dilation=pair(call.attrs.dilation),
        groups=int(call.attrs.groups),
        data_layout="NHWC",
        kernel_layout="OHWI",
    )
    return Placed(walk.to.layer(conv, name), "nhwc")
