"""Kernels in the place of fused groups.

Every private function made by :mod:`.fuse` becomes a scheduled PrimFunc, called with its tensor
arguments and its packed constants. Pooling and padding of bits and codes have kernels of their own,
and so have products of bits, which are scheduled with TVM's own kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax, tirx

from abc_tvm.compute.geometry import Dim
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.emit.frame import GROUP, Lowered
from abc_tvm.relay_passes.emit.pooling import alone
from abc_tvm.relay_passes.lowerings import bit_products
from abc_tvm.relay_passes.lowerings.table import between
from abc_tvm.relay_passes.rewrite import (
    Shape,
    bindings,
    const,
    emit,
    hint,
    op_name,
    shape_of,
    substitute,
)
from abc_tvm.relay_passes.workload import build, workload_of
from abc_tvm.schedules.generic import SCHEDULED
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of


class Lower:
    """Every group, and all pooling and padding of codes, becomes a kernel that ``main`` calls."""

    def __init__(self, context: Context) -> None:
        self.context = context

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
                env: dict[relax.Var, relax.Expr] = {}
                for var, value in bindings(func):
                    new = substitute(value, env)
                    if isinstance(new, tvm.ir.Call) and new.op in groups:
                        new = self.group(builder, new, groups[new.op], str(new.op.name_hint))
                    elif op_name(new) in between():
                        name = str(op_name(new)).removeprefix("abc.")
                        new = self.group(builder, new, alone(new, hint(var)), name)
                    elif op_name(new) == bit_products.PRODUCT:
                        new = bit_products.emit_kernel(builder, new, "bitserial_product")
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

    def group(
        self, builder: relax.BlockBuilder, call: relax.Call, function: relax.Function, name: str
    ) -> relax.Expr:
        lowered = build(function, self.scheduler_for(function))
        args = list(call.args)[: len(function.params)]
        return call_kernel(builder, lowered, args, name, self.batch(args))

    def scheduler_for(self, function: relax.Function) -> Scheduler:
        """Of default kernels, or of the one that a tuning record chooses for this function."""
        records = self.context.records
        workload = workload_of(function, self.context.device) if records else None
        choice = records.choice(workload.func) if records and workload else None
        return scheduler_of(self.context.device, choice)

    def batch(self, args: Sequence[relax.Expr]) -> Dim:
        return next((shape_of(a)[0] for a in args if not _is_one(shape_of(a)[0])), 1)


def _is_one(dim: Dim) -> bool:
    return isinstance(dim, int) and dim == 1


def call_kernel(
    builder: relax.BlockBuilder, lowered: Lowered, args: list[relax.Expr], name: str, batch: Dim
) -> relax.Expr:
    """Emit ``call_tir`` and the (free) reshapes of its results."""
    func = lowered.func.without_attr("global_symbol").with_attr(SCHEDULED, 1)
    gvar = builder.add_func(func, name.replace("fused_", "kernel_"))

    def dims(shape: Shape) -> list[Dim]:
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
