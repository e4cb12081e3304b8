"""Kernels of pooling between two bit layers: ``abc.pool_bits`` and ``abc.pool_codes``.

OR of thermometer bits, or the maximum of bytes, over the window; then the code that the next
convolution wants. A pooling is lowered, tuned and recorded as the fused groups are: :func:`alone`
gives it a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from abc_tvm.compute.geometry import WORD, Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.relay_passes.analysis.kernel_groups import GROUP
from abc_tvm.relay_passes.emit.kernel import Lowered
from abc_tvm.relay_passes.lowerings.bitserial_layout import pack_channels
from abc_tvm.relay_passes.ops import bit_window
from abc_tvm.relay_passes.passes.encode import turned_channels
from abc_tvm.relay_passes.rewrite import bindings, dtype_of, op_name, shape_of
from abc_tvm.schedules.scheduler import Scheduler


def alone(call: Any, layer: str) -> Any:
    """A private function of one pooling, as :mod:`.fuse` makes them of groups."""
    inner = relax.BlockBuilder()
    image = relax.Var("x0", call.args[0].ty)
    attrs = {GROUP: 1, "layer": layer}
    with inner.function("fused_pool", [image], attrs=attrs, private=True):
        with inner.dataflow():
            pooled = inner.emit(relax.Call(call.op, [image, *call.args[1:]], call.attrs))
            out = inner.emit_output(pooled)
        inner.emit_func_output(out)
    return next(function for _, function in inner.get().functions_items())


def pool_of(function: Any) -> Any:
    """The pooling of a function that :func:`alone` made; ``None`` of any other."""
    _, call = bindings(function)[0]
    return call if op_name(call) in POOLS else None


def pool_kernel(call: Any, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """OR over the window, then the planes that the next convolution wants."""
    dims = shape_of(call.args[0])
    window = _window(call, batch)
    n, groups, blocks = dims[3], dims[4], dims[5]
    bits = te.placeholder((window.batch, *dims[1:]), "uint32", name="bits")
    turned = turned_channels(call)
    blocking = Blocking(len(turned), groups, WORD)
    mask = te.placeholder((groups, blocks), "uint32", name="turned")
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, _, _ = window.padding
    padded = any(window.padding)
    head = (window.batch, window.out_height, window.out_width)

    def joined(b: Any, h: Any, w: Any, p: Any, g: Any, o: Any) -> Any:
        total = None
        for i in range(kh):
            for j in range(kw):
                y, x = h * sh + i * dh - top, w * sw + j * dw - left
                item = bits[b, y, x, p, g, o]
                if padded:
                    inside = tirx.all(y >= 0, y < dims[1], x >= 0, x < dims[2])
                    item = tirx.if_then_else(inside, item, tirx.const(0, "uint32"))
                total = item if total is None else total | item
        return total

    pooled = te.compute((*head, n, groups, blocks), joined, name="joined")
    planes = int(call.attrs["planes"])
    binary = str(call.attrs["code"]) == "binary"
    ones = tirx.const(0xFFFFFFFF, "uint32")

    def bit(p: int, at: tuple[Any, ...]) -> Any:
        """Thermometer plane ``p`` of the index, turned round where the mask says."""
        b, h, w, g, o = at
        value = pooled[b, h, w, p, g, o]
        if not turned.any():
            return value
        m = mask[g, o]
        return (value & (m ^ ones)) | ((pooled[b, h, w, n - 1 - p, g, o] ^ ones) & m)

    def coded(b: Any, h: Any, w: Any, p: Any, g: Any, o: Any) -> Any:
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
    plan = scheduler.plan(window, blocking, n, "pool_bits")
    scheduled = scheduler.family.schedule(plan, func)
    return Lowered(scheduled, plan, constants, [(shape, "uint32")], [shape])


def pool_codes_kernel(call: Any, scheduler: Scheduler, batch: int | None = None) -> Lowered:
    """The largest code of the window; of indices, then the code of that."""
    dims = shape_of(call.args[0])
    window, dtype = _window(call, batch), dtype_of(call.args[0])
    groups, slots = dims[3], dims[4]
    data = te.placeholder((window.batch, *dims[1:]), dtype, name="codes")
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, _, _ = window.padding
    padded = any(window.padding)
    lowest = tirx.const(0 if dtype == "uint8" else -128, dtype)
    shape = (window.batch, window.out_height, window.out_width, groups, slots)

    def largest(b: Any, h: Any, w: Any, g: Any, s: Any) -> Any:
        best = None
        for i in range(kh):
            for j in range(kw):
                y, x = h * sh + i * dh - top, w * sw + j * dw - left
                item = data[b, y, x, g, s]
                if padded:
                    inside = tirx.all(y >= 0, y < dims[1], x >= 0, x < dims[2])
                    item = tirx.if_then_else(inside, item, lowest)
                best = item if best is None else tirx.max(best, item)
        return best

    pooled = te.compute(shape, largest, name="pooled")
    codes = [int(n) for n in call.attrs["codes"]]
    turned = turned_channels(call)
    blocking = Blocking(len(turned), groups, WORD)
    plan = scheduler.plan(window, blocking, 1, "pool_codes")
    if not codes:
        func = te.create_prim_func([data, pooled])
        scheduled = scheduler.family.schedule(plan, func)
        return Lowered(scheduled, plan, [], [(shape, dtype)], [shape])
    rows = np.where(turned[None], np.array(codes)[::-1, None], np.array(codes)[:, None])
    spread = blocking.spread(rows.astype(dtype)).reshape(len(codes), groups, slots)
    table = te.placeholder(spread.shape, dtype, name="table")

    def coded(b: Any, h: Any, w: Any, g: Any, s: Any) -> Any:
        code = table[0, g, s]
        for k in range(1, len(codes)):
            reached = pooled[b, h, w, g, s] >= tirx.const(k, dtype)
            code = tirx.Select(reached, table[k, g, s], code)
        return code

    out = te.compute(shape, coded, name="coded")
    func = te.create_prim_func([data, table, out])
    scheduled = scheduler.family.schedule(plan, func)
    return Lowered(scheduled, plan, [spread], [(shape, dtype)], [shape])


def _window(call: Any, batch: int | None) -> Window:
    """The window; ``batch`` stands in for a symbolic one."""
    window = bit_window(call)
    if isinstance(window.batch, int):
        return window
    return replace(window, batch=batch or tirx.Var("batch", "int32"))


POOLS: dict[str, Callable[..., Lowered]] = {
    "abc.pool_bits": pool_kernel,
    "abc.pool_codes": pool_codes_kernel,
}
