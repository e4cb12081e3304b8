"""What holds once binary layers read codes: bits or bytes in the place of levels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tvm

from abc_tvm.compute.geometry import words
from abc_tvm.compute.narrow_products import is_narrow
from abc_tvm.relay_passes.contracts.contract import all_calls, functions
from abc_tvm.relay_passes.lowerings.bit_products import PRODUCT
from abc_tvm.relay_passes.lowerings.bitserial import BITSERIAL
from abc_tvm.relay_passes.lowerings.table import lowerings
from abc_tvm.relay_passes.ops import LEVELS, coded_window
from abc_tvm.relay_passes.rewrite import (
    bindings,
    constant,
    definitions,
    dtype_of,
    hint,
    op_name,
    shape_of,
)


def writers() -> dict[str, tuple[str, ...]]:
    """Operators on codes, and which operators may make what each of them reads."""
    operators: dict[str, tuple[str, ...]] = {}
    for lowering in lowerings():
        written = tuple(one.operator for one in lowering.encodings)
        pooled = tuple(one.operator for one in lowering.poolings)
        padded = tuple(one.operator for one in lowering.paddings)
        moved = tuple(one.operator for one in lowering.moves)
        if written:
            operators[lowering.anchor.operator] = written + pooled + moved + padded
            operators |= dict.fromkeys(moved, written + pooled + moved)
        if lowering is BITSERIAL:
            operators[PRODUCT] = written + pooled + moved + padded
        operators |= dict.fromkeys(pooled, written)
        operators |= dict.fromkeys(padded, written + pooled + moved)
    return operators


def no_binary_convolution_in_levels(mod: tvm.IRModule) -> Iterator[str]:
    """No ``abc.bconv2d`` and no ``abc.product`` is left."""
    for var, call in all_calls(mod, "abc.bconv2d", "abc.product"):
        yield f"{hint(var)} is an {op_name(call)}"


def convolutions_read_codes(mod: tvm.IRModule) -> Iterator[str]:
    """Every convolution on codes, every pool and pad of codes, and both factors of a product on
    bits are of what makes codes of its kind.

    ``main`` alone: see :func:`codes_fit_their_readers` for shapes, which hold in every function.
    """
    main = mod["main"]
    defined, known = definitions(main), writers()
    for var, call in bindings(main):
        wanted = known.get(op_name(call) or "")
        if wanted is None:
            continue
        inputs = call.args[:-4] if "move" in str(op_name(call)) else call.args[:1]
        if op_name(call) == PRODUCT:
            inputs = call.args
        for data in inputs:
            if op_name(defined.get(data)) not in wanted:
                source = op_name(defined.get(data)) or "an input"
                yield f"{hint(var)} = {op_name(call)} reads {source}"


def codes_fit_their_readers(mod: tvm.IRModule) -> Iterator[str]:
    """What bits and bytes are, and who reads them.

    Every ``abc.bitserial_conv2d`` has planes ±1 and finite scales and reads uint32 bits of as many
    activation planes as it has weights for, in as many groups as it has; every ``abc.int8_conv2d``
    has int8 weights and finite scales, and reads bytes in its groups, or narrow ones in one.
    """
    for var, call in all_calls(mod, "abc.bitserial_conv2d", "abc.int8_conv2d"):
        weights, scale = constant(call.args[1]), constant(call.args[2])
        dims, window = shape_of(call.args[0]), coded_window(call)
        if weights is None or scale is None or not np.all(np.isfinite(scale)):
            yield f"{hint(var)}: weights or scales are no finite constants"
        elif weights.dtype != np.int8 or weights.shape[-1] != window.group_in:
            yield f"{hint(var)}: weights {weights.dtype} {weights.shape} for {window.group_in}"
        elif op_name(call) == "abc.bitserial_conv2d":
            if not np.all(np.abs(weights) == 1):
                yield f"{hint(var)}: planes are not ±1"
            if dtype_of(call.args[0]) != "uint32" or len(dims) != 6:
                yield f"{hint(var)}: reads {dtype_of(call.args[0])} {dims}, not bits"
            elif (dims[3], dims[4]) != (len(call.attrs["weights"]), window.groups):
                yield f"{hint(var)}: reads {dims[3]} planes in {dims[4]} groups"
        elif dtype_of(call.args[0]) not in ("uint8", "int8") or len(dims) != 5:
            yield f"{hint(var)}: reads {dtype_of(call.args[0])} {dims}, not bytes"
        elif dims[3] != window.groups and not (dims[3] == 1 and is_narrow(window)):
            yield f"{hint(var)}: reads bytes in {dims[3]} groups"


def products_fit_their_bits(mod: tvm.IRModule) -> Iterator[str]:
    """Both factors of every ``abc.bitserial_product`` are uint32 bits of one batch, of as many
    planes as it has weights for, in one group of its channels."""
    for var, call in all_calls(mod, PRODUCT):
        dims = [shape_of(x) for x in call.args]
        many = [len(call.attrs["weights"]), len(call.attrs["weights_y"])]
        wide = words(int(call.attrs["in_channels"]))
        if any(dtype_of(x) != "uint32" for x in call.args) or any(len(d) != 6 for d in dims):
            yield f"{hint(var)}: its factors are no bits"
        elif [str(n) for n in dims[0][:2]] != [str(n) for n in dims[1][:2]]:
            yield f"{hint(var)}: its factors are of {dims[0][:2]} and {dims[1][:2]} matrices"
        elif any(d[3:] != (n, 1, wide) for d, n in zip(dims, many, strict=True)):
            yield f"{hint(var)}: its factors have {[d[3:] for d in dims]} planes, groups and words"


def steps_are_read_as_floats(mod: tvm.IRModule) -> Iterator[str]:
    """No operator on codes reads the levels of a step: what is left of these, floats read."""
    known = writers()
    for function in functions(mod).values():
        defined = definitions(function)
        for var, call in bindings(function):
            if op_name(call) in known and op_name(defined.get(call.args[0])) in LEVELS:
                yield f"{hint(var)} = {op_name(call)} reads levels"
