"""Pooling of packed bits: OR over the window, then the planes that the next convolution wants."""

from __future__ import annotations

import operator

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import WORD
from abc_tvm.compute.lanes import Blocking
from abc_tvm.relay_passes.emit.anchor import Pooling
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.emit.pooling import over_window, pool_window, turned_channels
from abc_tvm.relay_passes.rewrite import shape_of
from abc_tvm.schedules.scheduler import Scheduler

from .packing import pack_channels


def pool_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.pool_bitserial``."""
    dims = shape_of(call.args[0])
    window = pool_window(call, batch)
    n, groups, blocks = dims[3], dims[4], dims[5]
    bits = te.placeholder((window.batch, *dims[1:]), "uint32", name="bits")
    turned = turned_channels(call)
    blocking = Blocking(len(turned), groups, WORD)
    mask = te.placeholder((groups, blocks), "uint32", name="turned")
    head = (window.batch, window.out_height, window.out_width)
    none = tirx.const(0, "uint32")

    def joined(b: Expr, h: Expr, w: Expr, p: Expr, g: Expr, o: Expr) -> Expr:
        read = over_window(window, lambda y, x: bits[b, y, x, p, g, o], operator.or_, none)
        return read(h, w)

    pooled = te.compute((*head, n, groups, blocks), joined, name="joined")
    planes = int(call.attrs["planes"])
    binary = str(call.attrs["code"]) == "binary"
    ones = tirx.const(0xFFFFFFFF, "uint32")

    def bit(p: int, at: tuple[Expr, ...]) -> Expr:
        """Thermometer plane ``p`` of the index, turned round where the mask says."""
        b, h, w, g, o = at
        value = pooled[b, h, w, p, g, o]
        if not turned.any():
            return value
        m = mask[g, o]
        return (value & (m ^ ones)) | ((pooled[b, h, w, n - 1 - p, g, o] ^ ones) & m)

    def coded(b: Expr, h: Expr, w: Expr, p: Expr, g: Expr, o: Expr) -> Expr:
        result = None
        for plane in range(planes):
            if binary:
                parts = [bit(k - 1, (b, h, w, g, o)) for k in range(2**plane, n + 1, 2**plane)]
            else:
                parts = [bit(plane, (b, h, w, g, o))]
            value = parts[0]
            for part in parts[1:]:
                value = value ^ part
            result = value if result is None else tirx.Select(p == plane, value, result)
        return result

    out = te.compute((*head, planes, groups, blocks), coded, name="coded")
    func = te.create_prim_func([bits, mask, out])
    shape = (*head, planes, groups, blocks)
    constants: list[np.ndarray] = [pack_channels(turned, blocking)]
    plan = scheduler.plan(window, blocking, n, "pool_bitserial")
    scheduled = scheduler.schedule(plan, func)
    return Lowered(scheduled, plan, constants, [(shape, "uint32")], [shape])


POOL = Pooling("abc.pool_bitserial", pool_kernel)
