"""Kernels in the place of fused groups.

Every private function made by :mod:`.fuse` becomes a scheduled PrimFunc, called with its tensor
arguments and its packed constants. ``abc.pool_bits`` and ``abc.pool_codes`` have small kernels
of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx

from abc_tvm.compute.geometry import WORD
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.chosen import chosen_kernels
from abc_tvm.schedules.generic import SCHEDULED
from abc_tvm.schedules.kernels import Kernels, kernels_of

from .bit_layout import pack_channels
from .context import Context
from .encode import turned_channels
from .fuse import GROUP
from .kernel import KernelBuilder, Lowered
from .ops import bit_window
from .rewrite import bindings, const, dtype_of, emit, hint, op_name, shape_of, substitute
from .workload import workload_of


class Lower:
    """See the module's text."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.kernels = kernels_of(context.device)

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        builder = relax.BlockBuilder()
        groups = {
            gvar: other
            for gvar, other in mod.functions_items()
            if isinstance(other, relax.Function) and GROUP in (other.attrs or {})
        }
        with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
            with builder.dataflow():
                env: dict[Any, Any] = {}
                for var, value in bindings(func):
                    new = substitute(value, env)
                    if isinstance(new, tvm.ir.Call) and new.op in groups:
                        new = self.group(builder, new, groups[new.op], str(new.op.name_hint))
                    elif op_name(new) in POOLS:
                        new = self.pool(builder, new)
                    env[var] = (
                        new if isinstance(new, relax.Tuple) else emit(builder, new, hint(var))
                    )
                    if isinstance(value, relax.TupleGetItem) and isinstance(
                        env.get(value.tuple_value), relax.Tuple
                    ):
                        env[var] = env[value.tuple_value].fields[value.index]
                result = builder.emit_output(substitute(func.body.body, env))
            builder.emit_func_output(result)
        out = builder.get()
        for gvar, other in mod.functions_items():
            if gvar.name_hint != "main" and gvar not in groups:
                out.update_func(gvar, other)
        return out

    def group(self, builder: Any, call: Any, function: Any, name: str) -> Any:
        lowered = KernelBuilder(function, self.kernels_for(function)).build()
        return call_kernel(builder, lowered, list(call.args), name, self.batch(call.args))

    def kernels_for(self, function: Any) -> Kernels:
        """The default kernels, or those that a tuning record chooses for this function."""
        records = self.context.records
        workload = workload_of(function, self.context.device) if records else None
        choice = records.choice(workload.func) if records and workload else None
        return self.kernels if choice is None else chosen_kernels(self.context.device, choice)

    def batch(self, args: Any) -> Any:
        return next((shape_of(a)[0] for a in args if not _is_one(shape_of(a)[0])), 1)

    def pool(self, builder: Any, call: Any) -> Any:
        name = str(op_name(call))
        lowered = POOLS[name](call, self.kernels)
        batch = shape_of(call.args[0])[0]
        return call_kernel(builder, lowered, [call.args[0]], name.removeprefix("abc."), batch)


def _is_one(dim: Any) -> bool:
    return isinstance(dim, int) and dim == 1


def call_kernel(builder: Any, lowered: Lowered, args: list[Any], name: str, batch: Any) -> Any:
    """Emit ``call_tir`` and the (free) reshapes of its results."""
    func = lowered.func.without_attr("global_symbol").with_attr(SCHEDULED, 1)
    gvar = builder.add_func(func, name.replace("fused_", "kernel_"))

    def dims(shape: tuple[Any, ...]) -> list[Any]:
        return [int(d) if isinstance(d, (int, tirx.IntImm)) else batch for d in shape]

    types = [relax.TensorType(dims(shape), dtype) for shape, dtype in lowered.results]
    tensors = args + [const(c) for c in lowered.constants]
    out = builder.emit(relax.call_tir(gvar, tensors, types if len(types) > 1 else types[0]), name)
    results = []
    for i, (shape, wanted) in enumerate(zip(lowered.results, lowered.shapes, strict=True)):
        item = out if len(types) == 1 else builder.emit(relax.TupleGetItem(out, i))
        if [str(d) for d in dims(shape[0])] != [str(d) for d in dims(wanted)]:
            item = builder.emit(relax.op.reshape(item, dims(wanted)))
        results.append(item)
    return results[0] if len(results) == 1 else relax.Tuple(results)


def pool_kernel(call: Any, kernels: Kernels) -> Lowered:
    """OR over the window, then the planes that the next convolution wants."""
    dims = shape_of(call.args[0])
    window = bit_window(call)
    n, groups, blocks = dims[3], dims[4], dims[5]
    batch = dims[0] if isinstance(dims[0], int) else tirx.Var("batch", "int32")
    bits = te.placeholder((batch, *dims[1:]), "uint32", name="bits")
    turned = turned_channels(call)
    blocking = Blocking(len(turned), groups, WORD)
    mask = te.placeholder((groups, blocks), "uint32", name="turned")
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, _, _ = window.padding
    padded = any(window.padding)
    head = (batch, window.out_height, window.out_width)

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
    return Lowered(kernels.rest(func), constants, [(shape, "uint32")], [shape])


def pool_codes_kernel(call: Any, kernels: Kernels) -> Lowered:
    """The largest code of the window; of indices, then the code of that."""
    dims = shape_of(call.args[0])
    window, dtype = bit_window(call), dtype_of(call.args[0])
    groups, slots = dims[3], dims[4]
    batch = dims[0] if isinstance(dims[0], int) else tirx.Var("batch", "int32")
    data = te.placeholder((batch, *dims[1:]), dtype, name="codes")
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, _, _ = window.padding
    padded = any(window.padding)
    lowest = tirx.const(0 if dtype == "uint8" else -128, dtype)
    shape = (batch, window.out_height, window.out_width, groups, slots)

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
    if not codes:
        func = te.create_prim_func([data, pooled])
        return Lowered(kernels.rest(func), [], [(shape, dtype)], [shape])
    turned = turned_channels(call)
    blocking = Blocking(len(turned), groups, WORD)
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
    return Lowered(kernels.rest(func), [spread], [(shape, dtype)], [shape])


POOLS = {"abc.pool_bits": pool_kernel, "abc.pool_codes": pool_codes_kernel}
