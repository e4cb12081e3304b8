"""What holds once operators are kernels: fused, lowered, legal."""

from __future__ import annotations

from collections.abc import Iterator

import tvm
from tvm import relax, tirx

from abc_tvm.relay_passes.contracts.contract import functions
from abc_tvm.relay_passes.emit.frame import GROUP
from abc_tvm.relay_passes.lowerings.kernel_groups import is_anchor, is_joining
from abc_tvm.relay_passes.rewrite import bindings, hint, op_name

CALLS = ("call_tir", "call_pure_packed", "call_dps_packed", "call_inplace_packed")
"""Operators that call functions."""

RUNTIME = ("shape_of", "topk", "sort", "argsort")
"""Operators that the build gives to functions of TVM's runtime."""


def main_calls_groups(mod: tvm.IRModule) -> Iterator[str]:
    """``main`` calls groups, and operators that are left alone: none that a kernel computes."""
    groups = functions(mod)
    for var, value in bindings(mod["main"]):
        if not isinstance(value, tvm.ir.Call):
            continue
        if isinstance(value.op, tvm.ir.GlobalVar):
            name = str(value.op.name_hint)
            if name not in groups or GROUP not in (groups[name].attrs or {}):
                yield f"{hint(var)} calls {name}, which is no group"
        elif is_anchor(value) or is_joining(var, value):
            yield f"{hint(var)} = {op_name(value)} is in no group"


def groups_are_kernels(mod: tvm.IRModule) -> Iterator[str]:
    """Every group is an anchor, or nothing, and operators that a kernel can compute behind it."""
    for name, function in functions(mod).items():
        if GROUP not in (function.attrs or {}):
            continue
        members = [(v, c) for v, c in bindings(function) if isinstance(c, tvm.ir.Call)]
        if not members:
            yield f"{name} computes nothing"
        for place, (var, call) in enumerate(members):
            if not (is_anchor(call) and place == 0) and not is_joining(var, call):
                yield f"{name}: {hint(var)} = {op_name(call)} is at place {place} of a kernel"


def no_operator_of_ours(mod: tvm.IRModule) -> Iterator[str]:
    """No ``abc.*`` operator is left, in any function, and no group."""
    for name, function in functions(mod).items():
        if GROUP in (function.attrs or {}):
            yield f"the group {name} is left"
        for var, value in bindings(function):
            if (op_name(value) or "").startswith("abc."):
                yield f"{hint(var)} = {op_name(value)} is left"


def kernels_get_their_arguments(mod: tvm.IRModule) -> Iterator[str]:
    """Every ``call_tir`` gives a PrimFunc of the module its inputs and results, in its types."""
    known = {str(g.name_hint): f for g, f in mod.functions_items()}
    for var, call in bindings(mod["main"]):
        if op_name(call) != "call_tir":
            continue
        name = str(call.args[0].name_hint)
        kernel = known.get(name)
        if not isinstance(kernel, tirx.PrimFunc):
            yield f"{hint(var)} calls {name}, which is no kernel"
            continue
        results = list(var.ty.fields) if isinstance(var.ty, relax.TupleType) else [var.ty]
        given = [*(a.ty for a in call.args[1].fields), *results]
        wanted = [p.ty for p in kernel.params if isinstance(p.ty, tirx.BufferType)]
        if len(given) != len(wanted):
            yield f"{hint(var)} gives {len(given)} tensors to {name}, which has {len(wanted)}"
            continue
        for number, (tensor, buffer) in enumerate(zip(given, wanted, strict=True)):
            if not _fits(tensor, buffer):
                yield f"{hint(var)}: tensor {number} of {name} is {tensor}, not as it wants it"


def _fits(tensor: relax.TensorType, buffer: tirx.BufferType) -> bool:
    """Whether types and known extents are equal."""
    one, two = (str(t.dtype).rsplit(".", 1)[-1] for t in (tensor, buffer))
    if one != two or tensor.shape is None or len(tensor.shape) != len(buffer.shape):
        return False
    pairs = zip(tensor.shape, buffer.shape, strict=True)
    known = [p for p in pairs if all(isinstance(extent, int | tirx.IntImm) for extent in p)]
    return all(int(a) == int(b) for a, b in known)


def main_calls_kernels(mod: tvm.IRModule) -> Iterator[str]:
    """``main`` calls kernels and functions of the runtime alone."""
    for var, value in bindings(mod["main"]):
        if isinstance(value, tvm.ir.Call) and op_name(value) not in CALLS + RUNTIME:
            yield f"{hint(var)} = {op_name(value) or value.op} is no call of a kernel"
