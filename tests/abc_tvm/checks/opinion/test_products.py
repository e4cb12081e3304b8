"""Products on bits in the second opinion: what holds, and a fault in each fact of one."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import tvm
from tvm import relax

from abc_tvm.checks.opinion.opinion import second_opinion
from abc_tvm.compilation import Compilation
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.pipeline import Phase
from abc_tvm.relay_passes.rewrite import op_name, rebuild
from tests.relay_passes.harness import Net


def attention() -> onnx.ModelProto:
    """Queries, keys and values of layers on bits, in heads; scores are chosen by a threshold."""
    net = Net((2, 6, 64))
    x = net.step("input")
    parts = []
    for _ in range(3):
        part = net.step(net.op("MatMul", x, net.constant(net.signs(64, 64))), 1.0)
        split = net.op("Reshape", part, net.ints(0, 0, 2, 32))
        parts.append(net.op("Transpose", split, perm=[0, 2, 1, 3]))
    q, k, v = parts
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    chosen = net.op("Greater", net.op("Softmax", scores, axis=-1), net.constant(0.15))
    ones = net.op("Where", chosen, net.constant(1.0), net.constant(0.0))
    joined = net.op("Transpose", net.op("MatMul", ones, v), perm=[0, 2, 1, 3])
    last = net.step(net.op("Reshape", joined, net.ints(0, 0, 64)), 0.5)
    return net.model(net.op("MatMul", last, net.constant(net.signs(64, 8))))


@pytest.fixture(scope="module")
def encoded() -> tuple[onnx.ModelProto, tvm.IRModule]:
    whole = Compilation(attention(), "native", lowering="bitserial", check=False)
    return whole.imported.simple, whole.until(Phase.ENCODED)


def changed(module: tvm.IRModule, **facts: Any) -> tvm.IRModule:
    """Every product with other facts."""

    def visit(_: relax.BlockBuilder, __: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if op_name(value) != "abc.bitserial_product":
            return None
        kept = {name: value.attrs[name] for name in value.attrs.keys()}  # noqa: SIM118
        return make("bitserial_product", list(value.args), **{**kept, **facts})

    return rebuild(module, visit)


def test_all_layers_of_an_attention_are_checked(
    encoded: tuple[onnx.ModelProto, tvm.IRModule],
) -> None:
    opinion = second_opinion(*encoded)
    assert (len(opinion.checked), opinion.unknown, opinion.wrong) == (6, {}, {})


@pytest.mark.parametrize(
    "facts",
    [{"base": -3}, {"weights": [1]}, {"unit": 2.0}, {"base_y": 0}, {"weights_y": [-2]},
     {"unit_y": -1.0}, {"in_channels": 70}],
    ids=str,
)  # fmt: skip
def test_a_fault_is_seen(
    encoded: tuple[onnx.ModelProto, tvm.IRModule], facts: dict[str, Any]
) -> None:
    simple, module = encoded
    assert len(second_opinion(simple, changed(module, **facts)).wrong) >= 1


def test_factors_that_are_exchanged_do_not_hold(
    encoded: tuple[onnx.ModelProto, tvm.IRModule],
) -> None:
    simple, module = encoded

    def visit(_: relax.BlockBuilder, __: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if op_name(value) != "abc.bitserial_product":
            return None
        x, y = value.args
        if [str(n) for n in x.ty.shape] != [str(n) for n in y.ty.shape]:
            return None
        return relax.Call(value.op, [y, x], value.attrs)

    # What one side is says nothing of the other: there is no opinion, and no claim that it holds.
    assert len(second_opinion(simple, rebuild(module, visit)).checked) == 5
