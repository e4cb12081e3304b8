"""What holds once a graph is canonical: layouts, dense layers, constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.contracts.contract import all_calls
from abc_tvm.relay_passes.rewrite import (
    Definitions,
    bindings,
    constant,
    definitions,
    hint,
    op_name,
    operands,
    shape_of,
)

_PASSED = ("nn.max_pool2d", "nn.avg_pool2d", "nn.pad")


def convolutions_are_nhwc(mod: tvm.IRModule) -> Iterator[str]:
    """Every ``nn.conv2d`` is NHWC with constant weights OHWI that fit its input.

    One whose weights are no constant is NCHW, as it came.
    """
    for var, call in all_calls(mod, "nn.conv2d"):
        layouts = (str(call.attrs.data_layout), str(call.attrs.kernel_layout))
        weight = constant(call.args[1])
        if weight is None:
            if layouts != ("NCHW", "OIHW"):
                yield f"{hint(var)} is {layouts}, and its weights are no constant"
            continue
        if layouts != ("NHWC", "OHWI"):
            yield f"{hint(var)} of constant weights is {layouts}"
            continue
        channels, inside = shape_of(call.args[0])[3], weight.shape[3] * int(call.attrs.groups)
        if channels != inside:
            yield f"{hint(var)} reads {channels} channels with weights for {inside}"


def no_transpose_between_convolutions(mod: tvm.IRModule) -> Iterator[str]:
    """No ``permute_dims`` lies between two NHWC convolutions with nothing but pools, padding and
    element-wise operators round it."""
    defined = definitions(mod["main"])
    behind = _reach(defined, _is_nhwc)
    turned = _reach(
        defined, lambda value: op_name(value) == "permute_dims" and value.args[0] in behind
    )
    for var, value in defined.items():
        if _is_nhwc(value) and value.args[0] in turned:
            yield f"between the convolution {hint(var)} and another there is a permute_dims"


def _is_nhwc(value: relax.Expr) -> bool:
    return op_name(value) == "nn.conv2d" and str(value.attrs.data_layout) == "NHWC"


def _reach(defined: Definitions, starts: Callable[[relax.Expr], bool]) -> set[relax.Var]:
    """Variables where it starts, and what pools, padding and element-wise operators make."""
    reached: set[relax.Var] = set()
    for var, value in defined.items():
        name = op_name(value)
        passes = name in TABLE or name in _PASSED or isinstance(value, relax.Var)
        if starts(value) or (passes and any(a in reached for a in operands(value))):
            reached.add(var)
    return reached


def dense_layers_are_convolutions(mod: tvm.IRModule) -> Iterator[str]:
    """No ``matmul`` of an open float32 matrix ``[B, F]`` with a constant one is left."""
    for var, call in all_calls(mod, "matmul"):
        weight = constant(call.args[1])
        if weight is None or weight.ndim != 2 or str(weight.dtype) != "float32":
            continue
        if constant(call.args[0]) is None and len(shape_of(call.args[0])) == 2:
            yield f"{hint(var)} is a product of matrices with constant weights"


def constants_are_folded(mod: tvm.IRModule) -> Iterator[str]:
    """No element-wise operator reads constants alone."""
    for var, value in bindings(mod["main"]):
        if op_name(value) in TABLE and not operands(value):
            yield f"{hint(var)} = {op_name(value)} reads constants alone"
