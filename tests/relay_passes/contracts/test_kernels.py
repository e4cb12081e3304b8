"""A violation of each contract of kernels, beside a graph that keeps it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.contracts.kernels import (
    groups_are_kernels,
    kernels_get_their_arguments,
    main_calls_groups,
    main_calls_kernels,
    no_operator_of_ours,
)
from abc_tvm.relay_passes.emit.frame import GROUP
from tests.relay_passes.harness import passes_until, two_layers
from tests.relay_passes.relax_graph import convolution, image, module, step

WEIGHT = np.ones((4, 1, 1, 4), np.float32)


def grouped(*calls: Callable[[relax.Var], relax.Expr], group: bool = True) -> tvm.IRModule:
    """``main`` calls a function of these operators, one after another."""
    x = image("x", 4)
    inner = module([x], lambda bind: chained(bind, x, calls))["main"]
    function = inner.without_attr("global_symbol").with_attr("layer", "conv")
    if group:
        function = function.with_attr(GROUP, 1)
    builder = relax.BlockBuilder()
    outer = image("x", 4)
    with builder.function("main", [outer]):
        with builder.dataflow():
            gvar = builder.add_func(function, "fused_conv")
            result = builder.emit_output(builder.emit(relax.Call(gvar, [outer]), "conv"))
        builder.emit_func_output(result)
    return builder.get()


def chained(bind: Callable[..., relax.Var], x: relax.Var, calls: tuple[Callable, ...]) -> relax.Var:
    for number, call in enumerate(calls):
        x = bind(call(x), f"op{number}")
    return x


def conv(x: relax.Expr) -> relax.Expr:
    return convolution(x, WEIGHT)


def average(x: relax.Expr) -> relax.Expr:
    return relax.op.nn.avg_pool2d(x, (1, 1), layout="NHWC")


def alone(*calls: Callable[[relax.Var], relax.Expr]) -> tvm.IRModule:
    x = image("x", 4)
    return module([x], lambda bind: chained(bind, x, calls))


def quantised(x: relax.Expr) -> relax.Expr:
    return step(x, 4)


def test_main_calls_groups() -> None:
    assert not list(main_calls_groups(grouped(conv, relax.op.nn.relu)))
    assert not list(main_calls_groups(alone(average)))
    assert list(main_calls_groups(alone(conv))) == ["op0 = nn.conv2d is in no group"]
    assert list(main_calls_groups(alone(average, quantised))) == ["op1 = abc.step is in no group"]
    assert list(main_calls_groups(grouped(conv, group=False))) == [
        "conv calls fused_conv, which is no group"
    ]


def test_groups_are_kernels() -> None:
    assert not list(groups_are_kernels(grouped(conv, relax.op.nn.relu, quantised)))
    assert not list(groups_are_kernels(grouped(relax.op.nn.relu)))
    assert list(groups_are_kernels(grouped(conv, average))) == [
        "fused_conv: op1 = nn.avg_pool2d is at place 1 of a kernel"
    ]
    assert list(groups_are_kernels(grouped(relax.op.nn.relu, conv))) == [
        "fused_conv: op1 = nn.conv2d is at place 1 of a kernel"
    ]


def test_no_operator_of_ours() -> None:
    assert not list(no_operator_of_ours(alone(average)))
    assert list(no_operator_of_ours(alone(quantised))) == ["op0 = abc.step is left"]
    assert list(no_operator_of_ours(grouped(conv))) == ["the group fused_conv is left"]


def lowered() -> tvm.IRModule:
    return passes_until(two_layers(), "legalise")[0]


def with_call(change: Callable[[relax.Call], relax.Call]) -> tvm.IRModule:
    """A lowered network with one ``call_tir`` changed."""
    mod, done = lowered(), [False]
    main = mod["main"]
    bindings = []
    for binding in main.body.blocks[0].bindings:
        value = binding.value
        if not done[0] and "kernel" in str(getattr(value, "args", [""])[0]):
            value, done[0] = change(value), True
        bindings.append(relax.VarBinding(binding.var, value))
    assert done[0]
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], main.body.body)
    mod.update_func(mod.get_global_var("main"), relax.Function(main.params, body, main.ret_ty))
    return mod


def replaced(call: relax.Call, *args: relax.Expr) -> relax.Call:
    return relax.Call(call.op, list(args), call.attrs, call.ty_args)


def one_less(call: relax.Call) -> relax.Call:
    return replaced(call, call.args[0], relax.Tuple(list(call.args[1].fields)[:-1]))


def in_another_type(call: relax.Call) -> relax.Call:
    fields = list(call.args[1].fields)
    return replaced(call, call.args[0], relax.Tuple([*fields[:-1], image("other", 4)]))


def of_nothing(call: relax.Call) -> relax.Call:
    return replaced(call, tvm.ir.GlobalVar("nothing"), call.args[1])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (one_less, "tensors to kernel"),
        (in_another_type, "not as it wants it"),
        (of_nothing, "calls nothing, which is no kernel"),
    ],
)
def test_kernels_get_their_arguments(
    change: Callable[[relax.Call], relax.Call], fault: str
) -> None:
    assert not list(kernels_get_their_arguments(with_call(lambda call: call)))
    (found,) = kernels_get_their_arguments(with_call(change))
    assert fault in found


def test_main_calls_kernels() -> None:
    assert not list(main_calls_kernels(lowered()))
    assert list(main_calls_kernels(alone(relax.op.nn.relu))) == [
        "op0 = nn.relu is no call of a kernel"
    ]
    (found,) = main_calls_kernels(grouped(conv))
    assert found.startswith("conv = ") and "fused_conv" in found
