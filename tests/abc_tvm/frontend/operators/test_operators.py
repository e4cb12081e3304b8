"""The table of all rewrites, and how they are applied until nothing is left to do."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from abc_tvm.frontend import operators
from abc_tvm.frontend.operators import REWRITES, one_table
from abc_tvm.frontend.operators.images import padding, pooling
from abc_tvm.frontend.operators.rewriter import Rewriter


def test_no_operator_is_rewritten_by_two_families() -> None:
    with pytest.raises(ValueError, match="two families of operators rewrite Pad"):
        one_table([padding.REWRITES, pooling.REWRITES, {"Pad": pooling.max_pool}])


def test_the_table_has_every_operator_of_a_family() -> None:
    assert one_table([padding.REWRITES]) == padding.REWRITES
    assert {**padding.REWRITES, **pooling.REWRITES}.items() <= REWRITES.items()


def model(*nodes: onnx.NodeProto, opset: int = 13) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Neg becomes Abs and Relu becomes Neg, Abs stays; the nodes that were looked at."""
    seen: list[str] = []

    def rule(op_type: str) -> operators.Rewrite:
        def rewrite(edit: Rewriter, node: onnx.NodeProto) -> bool:
            seen.append(f"{node.op_type} {node.output[0]}")
            if not op_type:
                edit.op(node, "Sqrt", node.input[0])  # what a rule that stays has added is dropped
                return False
            edit.op(node, op_type, node.input[0], out=node.output[0])
            return True

        return rewrite

    rules = {"Relu": rule("Neg"), "Neg": rule("Abs"), "Abs": rule("")}
    monkeypatch.setattr(operators, "REWRITES", rules)
    return seen


def kinds(made: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


def test_what_a_rule_adds_is_looked_at_in_its_turn(spy: list[str]) -> None:
    made = model(helper.make_node("Relu", ["x"], ["y"]))
    assert operators.rewrite_operators(made)
    assert kinds(made) == ["Abs"] and made.graph.node[0].output[0] == "y"
    assert spy == ["Relu y", "Neg y", "Abs y"]
    assert not operators.rewrite_operators(made)


def test_only_the_nodes_that_are_asked_for(spy: list[str]) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]
    made = model(*nodes)
    assert operators.rewrite_operators(made, only=frozenset({"a"}))
    assert kinds(made) == ["Abs", "Neg"]
    assert "Neg y" not in spy


def test_nodes_of_other_domains_are_left(spy: list[str]) -> None:
    made = model(helper.make_node("Relu", ["x"], ["y"], domain="mine"))
    assert not operators.rewrite_operators(made)
    assert spy == []


def test_constants_are_folded_after_each_round(spy: list[str]) -> None:
    made = model(helper.make_node("Relu", ["x"], ["y"]))
    rounds: list[list[str]] = []
    operators.rewrite_operators(made, settle=lambda one: rounds.append(kinds(one)))
    assert rounds == [["Neg"], ["Abs"]]
    assert spy
