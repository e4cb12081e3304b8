"""Operators that run as one kernel become functions.

Of every group of operators that :mod:`.kernel_groups` makes:

1. An operator that is left alone stays in ``main``.
2. A kernel whose results nothing reads is dropped.
3. A kernel becomes a private function ``fused_<layer>`` of the tensors that it reads, and a call of
   it in ``main``.
4. Where something outside reads several of its results, the function returns a tuple of these, in
   the order in which they are computed.

Example: ``encode_bitserial(add(bitserial_conv2d(x, ...), y))`` becomes ``fused_conv(x, y)``.
"""

from __future__ import annotations

from collections.abc import Collection

import tvm
from tvm import relax

from abc_tvm.relay_passes.contracts import codes, contract, kernels
from abc_tvm.relay_passes.emit.frame import GROUP
from abc_tvm.relay_passes.lowerings.kernel_groups import Group, groups_of, read_outside
from abc_tvm.relay_passes.rewrite import completed, hint, operands, substitute

Environment = dict[relax.Var, relax.Var]
"""Variables of the graph before, and those in their place."""


class Fuse(contract.Rewrite):
    """``main`` calls a function for each kernel, and operators that are left alone."""

    requires = (codes.no_binary_convolution_in_levels, codes.convolutions_read_codes)
    ensures = (
        contract.functions_are_well_formed,
        kernels.main_calls_groups,
        kernels.groups_are_kernels,
        codes.codes_fit_their_readers,
        contract.nothing_is_dead,
    )

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        groups = groups_of(func)
        outside = read_outside(func, groups)
        builder = relax.BlockBuilder()
        with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
            with builder.dataflow():
                env: Environment = {}
                for group in groups:
                    if group.fused:
                        emit_group(builder, group, outside, env)
                    else:
                        var, value = group.members[0]  # case 1
                        env[var] = builder.emit(substitute(value, env), hint(var))
                result = builder.emit_output(substitute(func.body.body, env))
            builder.emit_func_output(result)
        return completed(builder, mod)


def emit_group(
    builder: relax.BlockBuilder, group: Group, outside: Collection[relax.Var], env: Environment
) -> None:
    """Add the function of a kernel, and call it."""
    own = {var for var, _ in group.members}
    read = (a for _, value in group.members for a in operands(value) if a not in own)
    inputs = list(dict.fromkeys(read))
    results = [var for var, _ in group.members if var in outside]
    if not results:
        return  # case 2
    layer = hint(group.members[0][0])
    name = "fused_" + "".join(ch if ch.isalnum() else "_" for ch in layer)
    gvar = builder.add_func(function_of(group, inputs, results, name, layer), name)
    call = builder.emit(relax.Call(gvar, [env.get(a, a) for a in inputs]), name)
    if len(results) == 1:
        env[results[0]] = call  # case 3
        return
    for i, result in enumerate(results):
        env[result] = builder.emit(relax.TupleGetItem(call, i), hint(result))  # case 4


def function_of(
    group: Group, inputs: list[relax.Var], results: list[relax.Var], name: str, layer: str
) -> relax.Function:
    """The private function of a kernel, from tensors that it reads to those that are read."""
    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{i}", a.ty) for i, a in enumerate(inputs)]
    local: Environment = dict(zip(inputs, params, strict=True))
    attrs = {GROUP: 1, "layer": layer}
    with builder.function(name, params, attrs=attrs, private=True):
        with builder.dataflow():
            for var, value in group.members:
                local[var] = builder.emit(substitute(value, local), hint(var))
            outputs = [local[r] for r in results]
            out = builder.emit_output(relax.Tuple(outputs) if len(outputs) > 1 else outputs[0])
        builder.emit_func_output(out)
    return next(function for _, function in builder.get().functions_items())
