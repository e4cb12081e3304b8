"""A max-pool of a max-pool is one of larger windows, as spatial pyramids are written."""

from __future__ import annotations

from tvm import relax

from abc_tvm.compute.geometry import pair
from abc_tvm.relay_passes.analysis.steps.readings import padding_of_pool
from abc_tvm.relay_passes.rewrite import op_name


def pools_as_one(first: relax.Expr | None, second: relax.Call) -> relax.Call | None:
    """``second``, which reads ``first``, as one max-pool of what that reads, with a type.

    Windows of ``first`` are one pixel apart, so that those of ``second`` join to one without a gap;
    at a border the pixels of a window that ``second`` leaves out are those of its neighbour too.
    ``None``: ``first`` is no such pool, or one of them has ceil_mode or dilation.
    """
    if first is None or op_name(first) != "nn.max_pool2d" or pair(first.attrs.strides) != (1, 1):
        return None
    attrs = [call.attrs for call in (first, second)]
    if any(str(a.layout) != "NHWC" or a.ceil_mode or pair(a.dilation) != (1, 1) for a in attrs):
        return None
    sizes = [pair(call.attrs.pool_size) for call in (first, second)]
    pads = [padding_of_pool(call) for call in (first, second)]
    call = relax.op.nn.max_pool2d(
        first.args[0],
        [a + b - 1 for a, b in zip(*sizes, strict=True)],
        list(pair(second.attrs.strides)),
        [a + b for a, b in zip(*pads, strict=True)],
        layout="NHWC",
    )
    return relax.BlockBuilder().normalize(call)
