"""Which tensors of an imported graph a layer in NCHW reads, directly or element by element.

These are worth turning to NHWC where they are born: then nothing between them and the layer is.
"""

from __future__ import annotations

from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.rewrite import bindings, op_name, operands, shape_of

_LAYERS = ("nn.conv2d", "nn.max_pool2d", "nn.avg_pool2d")

_BETWEEN_BASES = (
    "broadcast_to",
    "stack",
    "concat",
    "sum",
    "mean",
    "max",
    "min",
    "expand_dims",
    "squeeze",
    "reshape",
    "split",
    "strided_slice",
    "take",
)
"""Operators between bases that keep the image's place (see :class:`.layout.Stacked`)."""

_PASSING = (
    *_BETWEEN_BASES,
    "call_tir",
    "nn.batch_norm",
    "nn.leakyrelu",
    "nn.pad",
    "nn.prelu",
    None,
)


def read_as_nchw(func: relax.Function) -> set[relax.Var]:
    """Tensors that flow, element by element, into an NCHW convolution or pool."""
    wanted: set[relax.Var] = set()
    for var, value in reversed(bindings(func)):
        name = op_name(value)
        if isinstance(value, relax.TupleGetItem) and var in wanted:
            wanted.add(value.tuple_value)
        if name in _LAYERS:
            if "NCHW" in (getattr(value.attrs, a, "") for a in ("data_layout", "layout")):
                wanted.add(value.args[0])
        elif var in wanted and (name in pointwise.TABLE or name in _PASSING):
            wanted.update(a for a in operands(value) if rank_of(a) in (4, 5))
    return wanted


def rank_of(expr: relax.Expr) -> int:
    """Number of dimensions; 0 of what is no tensor."""
    return len(shape_of(expr)) if hasattr(expr.ty, "shape") else 0
