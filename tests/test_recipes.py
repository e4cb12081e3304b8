"""The recipes of CONTRIBUTING.md, each followed once.

Families and lowerings have toys of their own: ``tests/schedules/test_toy_family.py`` and
``tests/relay_passes/lowerings/test_toy_lowering.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

import abc_tvm
from abc_tvm import targets
from abc_tvm.compilation import Compilation
from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend import dialects
from abc_tvm.frontend.graph_edit import GraphEditor
from abc_tvm.relay_passes import pipeline
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.contracts import contract
from abc_tvm.relay_passes.rewrite import bindings, emit, hint, op_name, rebuild
from tests.abc_tvm.small_networks import network

RECIPES = ("target", "instruction set", "lowering", "pass", "dialect")


def test_these_are_the_recipes() -> None:
    text = Path(__file__).parents[1].joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## Adding ")]
    assert [line.split(maxsplit=3)[3] for line in headings] == list(RECIPES)


def test_a_target_is_one_file(tmp_path: Path) -> None:
    nearest = Path(str(targets.__file__)).with_name("rpi4.toml").read_text(encoding="utf-8")
    board = tmp_path / "board.toml"
    board.write_text(nearest.replace("pair = ", "pair = 100.0  # was ", 1), encoding="utf-8")
    report = abc_tvm.inspect(network(dims=(1, 8, 6, 6)), str(board))
    assert {row.lowering for row in report} == {"float"}, "bits are too dear on this board"
    assert all("times the time" in row.reason or "x the time" in row.reason for row in report)


class NoDoubleNegation(contract.Rewrite):
    """Two negations are none. Case 1: ``-(-x)`` becomes ``x``; case 2: any other stays."""

    ensures = (contract.well_formed, contract.nothing_is_dead)

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        defined: dict[relax.Var, relax.Expr] = {}

        def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            inner = defined.get(value.args[0]) if op_name(value) == "negative" else None
            new = inner.args[0] if op_name(inner) == "negative" else value  # cases 1 and 2
            expr = emit(builder, new, hint(var))
            defined[expr] = new
            return expr

        return rebuild(mod, visit)


def negated(times: int) -> onnx.ModelProto:
    model = network(dims=(1, 8, 6, 6), op="Neg")
    for n in range(times):
        last = model.graph.node[-1]
        last.output[0] = f"n{n}"
        model.graph.node.append(helper.make_node("Neg", [f"n{n}"], ["output"]))
    return model


@pytest.mark.parametrize(("times", "left"), [(0, 1), (1, 0), (2, 1), (3, 0)])
def test_a_pass_is_one_file(times: int, left: int) -> None:
    module = Compilation(negated(times), "zen4").until(pipeline.Phase.IMPORTED)
    context = Context(targets.load("zen4"))
    first = pipeline.passes(context)[:1]
    assert first[0][0] == "canonicalise"
    module = pipeline.run(module, first, checked=True)
    after = pipeline.run(module, [("no_double_negation", NoDoubleNegation())])
    contract.check(after, NoDoubleNegation.ensures, "after no_double_negation")
    contract.check_signature(module, after, "after no_double_negation")
    names = [op_name(value) for _, value in bindings(after["main"])]
    assert names.count("negative") == left
    again = NoDoubleNegation()(after)
    assert again.same_as(after), "a second run changes nothing"


def rewrite_signed(edit: GraphEditor, node: onnx.NodeProto) -> None:
    """``Signed(x, scale)``: ``scale`` times +1 where x >= 0, -1 elsewhere."""
    x, scale = edit.inputs(node, ("x", "scale"))
    above = edit.op(node, "GreaterOrEqual", x, edit.constant(0.0, "zero"))
    one, minus = edit.constant(1.0, "one"), edit.constant(-1.0, "minus")
    edit.op(node, "Mul", edit.op(node, "Where", above, one, minus), scale, out=node.output[0])


def test_a_dialect_operator_is_a_function_and_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = network(dims=(1, 8, 6, 6))
    first = next(node for node in model.graph.node if node.op_type == "Sign")
    first.op_type, first.domain = "Signed", dialects.DIALECT_DOMAINS[-1]
    first.input.append("size")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "size"))
    model.opset_import.append(helper.make_opsetid(first.domain, 1))
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    with pytest.raises(UnsupportedError, match=r"act1.*Signed.*is not supported"):
        abc_tvm.inspect(model)
    monkeypatch.setitem(dialects.REWRITES, "Signed", rewrite_signed)
    x = rng.standard_normal((1, 8, 6, 6)).astype(np.float32)
    results = []
    for lowering in ("bitserial", "float"):
        artifact = abc_tvm.compile(model, "native", lowering=lowering)
        assert len(artifact.report.binarized) == (2 if lowering == "bitserial" else 0)
        artifact.save(tmp_path / f"{lowering}.so")
        session = abc_tvm.load(tmp_path / f"{lowering}.so", threads=1)
        results.append(session.run({"input": x})["output"])
    np.testing.assert_allclose(*results, rtol=1e-5)
