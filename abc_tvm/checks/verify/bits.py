"""The activation bits that compiled kernels compute, and what they stand for.

The kernels that are shipped are built once more, with what each binarized layer reads as one more
output of the network (:func:`tapped`). :func:`bit_inputs` says how it is packed, and which levels
its bits, or codes, mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from abc_tvm.relay_passes.lowerings import bit_products
from abc_tvm.relay_passes.lowerings.codec import Codec
from abc_tvm.relay_passes.lowerings.table import FLOAT, of_operator
from abc_tvm.relay_passes.rewrite import (
    array_of,
    bindings,
    definitions,
    drop_dead,
    emit,
    hint,
    op_name,
    substitute,
)


@dataclass(frozen=True)
class BitInput:
    """The activation bits, or codes, that one binarized layer, or several, read.

    Of a product on bits both factors are such.
    """

    layer: str
    var: relax.Var
    bits: Codec


@dataclass(frozen=True)
class LayerBits:
    """One row: bits compared before a layer, and how many of them differ."""

    name: str
    planes: int
    checked_bits: int
    flipped_bits: int
    unexplained_bits: int = 0


def is_coded(value: relax.Expr) -> bool:
    """Whether a call is a convolution of any lowering but float."""
    lowering = of_operator(op_name(value))
    return lowering is not None and lowering.name != FLOAT


def bit_inputs(encoded: tvm.IRModule, canonical: tvm.IRModule) -> list[BitInput]:
    """The packed tensors that the layers of a module read, after the pass ``encode``.

    ``canonical`` is the module after ``collapse_bases``: its levels count, in its scale.
    """
    plain = _convolutions(canonical)
    defined = definitions(encoded["main"])
    inputs: list[BitInput] = []
    for var, value in defined.items():
        lowering = of_operator(op_name(value))
        if op_name(value) == bit_products.PRODUCT:
            both = bit_products.codecs(value, [defined[x] for x in value.args])
            for x, bits in zip(value.args, both, strict=True):
                if not any(one.var.same_as(x) for one in inputs):
                    inputs.append(BitInput(hint(var), x, bits))
            continue
        if lowering is None or lowering.name == FLOAT:
            continue
        if any(one.var.same_as(value.args[0]) for one in inputs):
            continue
        weights = array_of(plain[hint(var)].args[1])
        codec = lowering.codec(value, defined[value.args[0]], weights)
        if codec is not None:
            inputs.append(BitInput(hint(var), value.args[0], codec))
    return inputs


def tapped(encoded: tvm.IRModule, outputs: list[relax.Var]) -> tvm.IRModule:
    """The module after ``encode`` with variables of it as further outputs of ``main``."""
    return _rewired(encoded, outputs)


def _convolutions(canonical: tvm.IRModule) -> dict[str, relax.Call]:
    members = bindings(canonical["main"])
    return {hint(var): call for var, call in members if op_name(call) == "nn.conv2d"}


def _rewired(module: tvm.IRModule, outputs: list[relax.Var]) -> tvm.IRModule:
    func = module["main"]
    results = _results(func)
    builder = relax.BlockBuilder()
    with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
        with builder.dataflow():
            env: dict[relax.Var, relax.Expr] = {}
            for var, value in bindings(func):
                if isinstance(value, relax.Tuple):
                    env[var] = substitute(value, env)
                else:
                    env[var] = emit(builder, substitute(value, env), hint(var))
            fields = [substitute(v, env) for v in (*results, *outputs)]
            result = builder.emit_output(relax.Tuple(fields))
        builder.emit_func_output(result)
    out = builder.get()
    # Operators without a Relax form of their own are private functions beside main.
    for gvar, other in module.functions_items():
        if gvar.name_hint != "main":
            out.update_func(gvar, other)
    return drop_dead(out)


def _results(func: relax.Function) -> list[relax.Var]:
    defined = definitions(func)
    body = func.body.body
    while isinstance(defined.get(body), relax.Var):
        body = defined[body]
    value = defined.get(body, body)
    return list(value.fields) if isinstance(value, relax.Tuple) else [body]
