"""Pooling of codes: the largest of the window; where indices are pooled, then the code of that."""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import WORD
from abc_tvm.compute.lanes import Blocking
from abc_tvm.relay_passes.emit.anchor import Pooling
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.emit.pooling import over_window, pool_window, turned_channels
from abc_tvm.relay_passes.rewrite import dtype_of, shape_of
from abc_tvm.schedules.scheduler import Scheduler


def pool_kernel(call: relax.Call, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The kernel of an ``abc.pool_int8``; without ``codes`` the codes themselves are pooled."""
    dims = shape_of(call.args[0])
    window, dtype = pool_window(call, batch), dtype_of(call.args[0])
    groups, slots = dims[3], dims[4]
    data = te.placeholder((window.batch, *dims[1:]), dtype, name="codes")
    lowest = tirx.const(0 if dtype == "uint8" else -128, dtype)
    shape = (window.batch, window.out_height, window.out_width, groups, slots)

    def largest(b: Expr, h: Expr, w: Expr, g: Expr, s: Expr) -> Expr:
        read = over_window(window, lambda y, x: data[b, y, x, g, s], tirx.max, lowest)
        return read(h, w)

    pooled = te.compute(shape, largest, name="pooled")
    codes = [int(n) for n in call.attrs["codes"]]
    turned = turned_channels(call)
    blocking = Blocking(len(turned), groups, WORD)
    plan = scheduler.plan(window, blocking, 1, "pool_int8")
    if not codes:
        func = te.create_prim_func([data, pooled])
        scheduled = scheduler.schedule(plan, func)
        return Lowered(scheduled, plan, [], [(shape, dtype)], [shape])
    rows = np.where(turned[None], np.array(codes)[::-1, None], np.array(codes)[:, None])
    spread = blocking.spread(rows.astype(dtype)).reshape(len(codes), groups, slots)
    table = te.placeholder(spread.shape, dtype, name="table")

    def coded(b: Expr, h: Expr, w: Expr, g: Expr, s: Expr) -> Expr:
        code = table[0, g, s]
        for k in range(1, len(codes)):
            reached = pooled[b, h, w, g, s] >= tirx.const(k, dtype)
            code = tirx.Select(reached, table[k, g, s], code)
        return code

    out = te.compute(shape, coded, name="coded")
    func = te.create_prim_func([data, table, out])
    scheduled = scheduler.schedule(plan, func)
    return Lowered(scheduled, plan, [spread], [(shape, dtype)], [shape])


POOL = Pooling("abc.pool_int8", pool_kernel)
