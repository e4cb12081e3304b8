"""Max-pooling: of floats as the beginning of a kernel, of bits and codes as kernels of their own.

The window is written out here, once; what is read, how two readings are joined and what stands for
padding is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tvm import relax, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import Window, pair
from abc_tvm.compute.lanes import Index, stage
from abc_tvm.relay_passes.ops import coded_window
from abc_tvm.relay_passes.rewrite import array_of, constant, dtype_of, shape_of
from abc_tvm.schedules.family import Plan

from .anchor import Anchor
from .frame import GROUP, Frame

MOST_WINDOW = 256
"""Elements of a pool's window that a kernel writes out one by one; TVM nests the expression."""

Reader = Callable[[Expr, Expr], Expr]
"""A value by its row and column."""


def over_window(
    window: Window,
    item: Reader,
    join: Callable[[Expr, Expr], Expr],
    outside: Expr,
) -> Reader:
    """What a window at output row and column holds, joined in the order of rows.

    ``item`` reads the input, ``outside`` stands for padding.
    """
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, _, _ = window.padding
    padded = any(window.padding)

    def joined(h: Expr, w: Expr) -> Expr:
        total = None
        for i in range(kh):
            for j in range(kw):
                y, x = h * sh + i * dh - top, w * sw + j * dw - left
                one = item(y, x)
                if padded:
                    inside = tirx.all(y >= 0, y < window.height, x >= 0, x < window.width)
                    one = tirx.if_then_else(inside, one, outside)
                total = one if total is None else join(total, one)
        return total

    return joined


def begin_max_pool(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    """A kernel of float max-pooling and what follows it."""
    _, height, width, channels = shape_of(var)
    frame.lay(height, width, channels, frame.layout(1))
    blocking, data = frame.blocking, frame.inputs[call.args[0]]
    dims, attrs = shape_of(call.args[0]), call.attrs
    window = Window(
        batch=frame.batch,
        height=int(dims[1]),
        width=int(dims[2]),
        in_channels=channels,
        out_channels=channels,
        kernel=pair(attrs.pool_size),
        stride=pair(attrs.strides),
        padding=tuple(int(p) for p in attrs.padding),  # type: ignore[arg-type]
        dilation=pair(attrs.dilation),
    )
    low = tirx.const(float("-inf"), "float32")

    def value(index: Index) -> Expr:
        b, h, w, g, o, l = index
        read = over_window(
            window, lambda y, x: blocking.read(data, (b, y, x, g, o, l)), tirx.max, low
        )
        return read(h, w)

    acc = stage("acc", blocking.shape(frame.batch, height, width), value, "sums")
    frame.values[var] = lambda index: acc[index]
    return frame.lanes_plan()


def _fits(call: relax.Call) -> bool:
    dims = shape_of(call.args[0])
    plain = str(call.attrs.layout) == "NHWC" and not call.attrs.ceil_mode
    return (
        plain
        and dtype_of(call.args[0]) == "float32"
        and len(dims) == 4
        and all(isinstance(extent, int) for extent in dims[1:])
        and math.prod(int(n) for n in call.attrs.pool_size) <= MOST_WINDOW
    )


MAX_POOL = Anchor("nn.max_pool2d", begin_max_pool, _fits, lambda call: None)


def alone(call: relax.Call, layer: str) -> relax.Function:
    """A private function of one operator on codes, as the pass "fuse" makes them of groups.

    So it is lowered, tuned and recorded as they are. Its images come before its constants.
    """
    inner = relax.BlockBuilder()
    given = [arg for arg in call.args if constant(arg) is None]
    images = [relax.Var(f"x{i}", arg.ty) for i, arg in enumerate(given)]
    attrs = {GROUP: 1, "layer": layer}
    with inner.function("fused_pool", images, attrs=attrs, private=True):
        with inner.dataflow():
            args = [*images, *call.args[len(images) :]]
            out = inner.emit_output(inner.emit(relax.Call(call.op, args, call.attrs)))
        inner.emit_func_output(out)
    return next(function for _, function in inner.get().functions_items())


def pool_window(call: relax.Call, batch: int | None) -> Window:
    """The window of a pooling of bits or codes; ``batch`` stands in for a symbolic one."""
    window = coded_window(call)
    if isinstance(window.batch, int):
        return window
    return replace(window, batch=batch or tirx.Var("batch", "int32"))


def turned_channels(call: relax.Call) -> np.ndarray:
    """Boolean ``[C]``: the channels in which a pooling of bits or codes reverses the index."""
    return array_of(call.args[1]).astype(bool)
