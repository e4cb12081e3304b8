"""Padding of images by a number, in NHWC.

1. Padding of no width is nothing.
2. Of rows and columns of an image that lies in NHWC, the graph's own or not: ``nn.pad`` of NHWC.
   The importer writes it as a function of its own.

Refuses: padding of batch or channels, in other modes, of other types, of images that lie in NCHW.
"""

from __future__ import annotations

from tvm import relax

from abc_tvm.relay_passes.analysis.layout import Placed, Value
from abc_tvm.relay_passes.analysis.padding import pad, padding_of
from abc_tvm.relay_passes.passes.canonical.walk import Walk
from abc_tvm.relay_passes.rewrite import hint, op_name

_NHWC = (0, 2, 3, 1)


def padded(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """``nn.pad``, and the importer's function of padding."""
    padding = padding_of(call, walk.functions)
    if padding is None:
        return None
    data = call.args[0] if op_name(call) == "nn.pad" else call.args[1].fields[0]
    value = walk.get(data)
    if padding.empty:  # 1
        return value
    if not isinstance(value, Placed):
        return None
    moved = padding.moved(_NHWC) if value.kind == "nhwc" else padding
    if not (value.kind == "nhwc" or value.native) or moved.of_image() is None:
        return None
    return Placed(walk.to.op(pad(value.expr, moved), hint(var)), value.kind, value.native)  # 2
