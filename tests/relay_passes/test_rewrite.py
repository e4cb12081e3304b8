"""The frame of the passes: what was not changed is handed back itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.rewrite import bindings, const, emit, op_name, rebuild, unless_same
from tests.relay_passes.harness import passes_until, two_layers


@pytest.fixture(scope="module")
def module() -> tvm.IRModule:
    return passes_until(two_layers(), "canonicalise")[0]


def test_a_walk_that_changes_nothing_gives_the_module_itself(module: tvm.IRModule) -> None:
    assert rebuild(module, lambda builder, var, value: None) is module
    assert rebuild(module, lambda builder, var, value: emit(builder, value, "other")) is module


def reverse(value: relax.Call) -> relax.Expr:
    return relax.op.where(value.args[0], value.args[2], value.args[1])


def with_other_attributes(value: relax.Call) -> relax.Expr:
    return relax.op.nn.conv2d(*value.args, padding=1, data_layout="NHWC", kernel_layout="OHWI")


CHANGES: dict[str, tuple[str, Callable[[relax.Call], relax.Expr]]] = {
    "operator": ("greater_equal", lambda call: relax.op.greater(*call.args)),
    "arguments": ("where", reverse),
    "attribute": ("nn.conv2d", with_other_attributes),
    "constant": (
        "greater_equal",
        lambda call: relax.op.greater_equal(call.args[0], const(np.array(0.25, np.float32))),
    ),
    "operation left out": ("multiply", lambda call: call.args[0]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_one_change_is_seen(module: tvm.IRModule, what: str) -> None:
    name, change = CHANGES[what]
    found: list[relax.Call] = []

    def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if found or op_name(value) != name:
            return None
        found.append(value)
        return change(value)

    changed = rebuild(module, visit)
    assert len(found) == 1
    assert changed is not module


def test_another_result_is_seen(module: tvm.IRModule) -> None:
    func = module["main"]
    inner = next(var for var, value in bindings(func) if op_name(value) == "add")
    (block,) = func.body.blocks
    other = relax.Function(func.params, relax.SeqExpr([block], inner), inner.ty, attrs=func.attrs)
    assert unless_same(module, tvm.IRModule({"main": other})) is not module


def test_a_function_beside_main_is_seen() -> None:
    fused, _ = passes_until(two_layers(), "fuse")
    assert rebuild(fused, lambda builder, var, value: None) is fused
    functions = {g.name_hint: f for g, f in fused.functions_items()}
    name = next(name for name in functions if name != "main")
    copy = functions[name].with_attr("layer", "other")
    assert unless_same(fused, tvm.IRModule({**functions, name: copy})) is not fused
