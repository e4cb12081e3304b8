"""Padding of codes by the code of a level: of packed bits, and of bytes.

A place outside the image is then a level like any other, and the convolution behind it has no
border. A kernel of its own, scheduled as a pooling of windows of one element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import WORD, Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.emit.anchor import Pooling
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.emit.pooling import over_window, pool_window
from abc_tvm.relay_passes.rewrite import array_of, dtype_of, shape_of
from abc_tvm.schedules.scheduler import Scheduler

from .packing import pack_channels


def window_attributes(reading: LayerReading, channels: int) -> dict[str, Any]:
    """The attributes of an operator that pads what a layer reads."""
    return {
        "kernel": [1, 1],
        "strides": [1, 1],
        "padding": reading.padded_rows(),
        "dilation": [1, 1],
        "groups": 1,
        "in_channels": channels,
        "out_channels": channels,
    }


def packed_level(bits: np.ndarray, channels: int, groups: int) -> np.ndarray:
    """uint32 ``[P, G, words]``: one level, bits ``[P]``, in every channel; no other bit is set."""
    blocking = Blocking(channels, groups, WORD)
    return np.stack([pack_channels(np.full(channels, bool(bit)), blocking) for bit in bits])


def bits_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.pad_bitserial``."""
    dims, window = shape_of(call.args[0]), pool_window(call, batch)
    planes, groups, words = dims[3:]
    level = array_of(call.args[1])
    bits = te.placeholder((window.batch, *dims[1:]), "uint32", name="bits")
    outside = te.placeholder(level.shape, "uint32", name="level")
    shape = (window.batch, window.out_height, window.out_width, planes, groups, words)

    def padded(b: Expr, h: Expr, w: Expr, p: Expr, g: Expr, o: Expr) -> Expr:
        return _one(window, lambda y, x: bits[b, y, x, p, g, o], outside[p, g, o])(h, w)

    func = te.create_prim_func([bits, outside, te.compute(shape, padded, name="padded")])
    blocking = Blocking(window.in_channels, groups, WORD)
    plan = scheduler.plan(window, blocking, planes, "pool_bitserial")
    scheduled = scheduler.schedule(plan, func)
    return Lowered(scheduled, plan, [level], [(shape, "uint32")], [shape])


def int8_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.pad_int8``."""
    dims, window, dtype = shape_of(call.args[0]), pool_window(call, batch), dtype_of(call.args[0])
    groups, slots = dims[3:]
    data = te.placeholder((window.batch, *dims[1:]), dtype, name="codes")
    outside = tirx.const(int(call.attrs["code"]), dtype)
    shape = (window.batch, window.out_height, window.out_width, groups, slots)

    def padded(b: Expr, h: Expr, w: Expr, g: Expr, s: Expr) -> Expr:
        return _one(window, lambda y, x: data[b, y, x, g, s], outside)(h, w)

    func = te.create_prim_func([data, te.compute(shape, padded, name="padded")])
    plan = scheduler.plan(window, Blocking(window.in_channels, groups, WORD), 1, "pool_int8")
    return Lowered(scheduler.schedule(plan, func), plan, [], [(shape, dtype)], [shape])


def _one(window: Window, item: Any, outside: Expr) -> Any:
    """The element of a window of one, ``outside`` where that is none."""
    return over_window(window, item, lambda a, b: b, outside)


PAD_BITS = Pooling("abc.pad_bitserial", bits_kernel)
PAD_INT8 = Pooling("abc.pad_int8", int8_kernel)
