"""The fuzzer in short form, and the fuzzer itself: does it find, and reduce, what is planted?"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.fuzz import graph_task
from tests.fuzz.__main__ import main, run
from tests.fuzz.case import Build, Case
from tests.fuzz.draft import Draft
from tests.fuzz.faulty import make_faulty
from tests.fuzz.graphs import draw
from tests.fuzz.judge import Outcome, difference, judge, reason
from tests.fuzz.onnx_node import RejectedError
from tests.fuzz.reduce import reduce
from tests.fuzz.workers import outcomes

Sweep = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
SEED = 2026


@pytest.mark.parametrize(
    ("what", "short", "full"),
    [("graphs", 40, 1000), ("corrupt", 60, 2000), ("artifacts", 60, 600), ("records", 20, 200)],
)
def test_nothing_is_found(what: str, short: int, full: int, sweep: Sweep, tmp_path: Path) -> None:
    (count,) = sweep([short], [full])
    found = run(what, SEED, seconds=600, count=count, out=tmp_path, processes=1)
    assert found.tried >= 0.9 * count
    assert found.findings == 0, found.table()


def test_a_case_is_the_same_whenever_it_is_drawn() -> None:
    first, again = draw(3, 7), draw(3, 7)
    assert first.model.SerializeToString() == again.model.SerializeToString()
    assert first.build == again.build
    assert all(np.array_equal(first.inputs[n], again.inputs[n]) for n in first.inputs)
    assert draw(3, 8).model.SerializeToString() != first.model.SerializeToString()


def test_half_of_the_graphs_are_exact_and_most_are_small() -> None:
    cases = [draw(4, n) for n in range(60)]
    assert 15 < sum(bool(case.exact) for case in cases) < 45
    assert {case.build.lowering for case in cases} == {"auto", "bitserial", "int8", "float"}
    for case in cases:
        onnx.checker.check_model(case.standard, full_check=True)


def _draft() -> Draft:
    return Draft(np.random.default_rng(0), 17, dyadic=True)


def test_a_step_near_its_threshold_is_not_drawn() -> None:
    d = _draft()
    x = d.enter(np.array([[0.5, -0.25, 1.0]], np.float32))
    wide = d.op("Mul", x, d.constant(np.float32(1 / 3)))  # rounds
    assert not wide.exact and wide.blur.all()
    d.op("Sign", wide)
    threshold = d.constant(wide.array[0, 0] + np.float32(1e-7))
    with pytest.raises(RejectedError, match="depends on rounding"):
        d.op("Greater", wide, threshold)


def test_the_zeros_of_a_relu_are_not_rounded() -> None:
    d = _draft()
    x = d.enter(np.array([[0.5, -0.25, 1.0]], np.float32))
    y = d.op("Relu", d.op("Mul", x, d.constant(np.float32(1 / 3))))
    assert (y.blur > 0).tolist() == [[True, False, True]]
    d.op("Where", d.op("Greater", y, d.constant(0.0)), d.constant(1.0), d.constant(-1.0))


def test_sums_of_small_multiples_are_exact() -> None:
    d = _draft()
    x = d.enter(np.ones((1, 4), np.float32))
    y = d.op("MatMul", x, d.constant(np.full((4, 2), 0.25)), discrete=True)
    assert y.exact and not y.blur.any()
    assert not d.op("Sigmoid", y).exact


def _chain(*operators: str, shape: tuple[int, ...] = (2, 6, 5, 5)) -> Case:
    names = ["x", *(f"t{n}" for n in range(len(operators)))]
    nodes = [
        helper.make_node(op, [a], [b])
        for op, a, b in zip(operators, names, names[1:], strict=False)
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in (names[0], names[-1])
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = np.linspace(-2, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return Case("chain", model, {"x": x}, frozenset(), Build(), {})


def test_the_reducer_leaves_the_two_nodes_that_fail_together() -> None:
    def judge_of_a_pair(case: Case) -> Outcome:
        kinds = [node.op_type for node in case.model.graph.node]
        bad = any(pair == ("Relu", "Tanh") for pair in itertools.pairwise(kinds))
        return Outcome("wrong", "values") if bad else Outcome("right")

    case = _chain("Abs", "Sigmoid", "Relu", "Tanh", "Neg", "Floor")
    smallest = reduce(case, judge_of_a_pair)
    assert [node.op_type for node in smallest.model.graph.node] == ["Relu", "Tanh"]
    assert [array.size for array in smallest.inputs.values()] == [1]
    onnx.checker.check_model(smallest.model, full_check=True)


def _holding(op_type: str, count: int) -> list[Case]:
    """The first graphs with that operator."""
    found: list[Case] = []
    for number in range(3000):
        case = draw(5, number)
        if any(node.op_type == op_type for node in case.model.graph.node):
            found.append(case)
        if len(found) == count:
            break
    return found


def test_a_wrong_importer_is_found_and_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    from tvm import relax
    from tvm.relax.frontend.onnx import onnx_frontend

    def wrong(_: Any, builder: Any, inputs: Any, attributes: Any, params: Any) -> Any:
        return relax.op.nn.leakyrelu(inputs[0], 0.01)

    for name in [n for n in vars(onnx_frontend.Relu) if n.startswith("_impl")]:
        monkeypatch.setattr(onnx_frontend.Relu, name, classmethod(wrong))
    for case in _holding("Relu", 12):
        if judge(case).kind == "wrong":
            smallest = reduce(case, judge, 20)
            assert [node.op_type for node in smallest.model.graph.node] == ["Relu"]
            break
    else:
        pytest.fail("not found in 12 graphs")


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights whose bits are turned round: the second opinion looks at the graph, not at these."""
    from abc_tvm.relay_passes.lowerings import bitserial

    packed = bitserial.pack_planes
    monkeypatch.setattr(bitserial, "pack_planes", lambda *a: np.bitwise_not(packed(*a)))
    build = Build("bitserial")
    kinds = (judge(replace(draw(7, n), build=build)).kind for n in range(40))
    assert "wrong" in kinds


def test_shapes_types_and_values_are_compared() -> None:
    right = np.array([1.0, 2.0], np.float32)
    assert not difference(right + np.float32(1e-5), right, exact=False)
    assert difference(right + np.float32(1e-5), right, exact=True)
    assert difference(right + np.float32(1e-3), right, exact=False)
    assert difference(np.array([np.nan, 2], np.float32), right, exact=False)
    assert not difference(np.array([-0.0], np.float32), np.array([0.0], np.float32), exact=True)


def test_like_reasons_are_one() -> None:
    assert reason("m.onnx: node 'a' has 3 inputs") == reason("m.onnx: node 'bc' has 12 inputs")


@pytest.mark.parametrize(
    ("kind", "answer"), [("crash", "crash"), ("hang", "hang"), ("raise", "error")]
)
def test_a_worker_that_dies_is_an_outcome(kind: str, answer: str) -> None:
    found = dict(outcomes(make_faulty, (kind,), iter(range(4)), processes=1, seconds=5))
    assert [found[n].kind for n in range(4)] == ["right", answer, "right", "right"]


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["artifacts", "--count", "2", "--seed", "1", "--processes", "1", "--json"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tried"] == 2 and sum(said["counts"].values()) == 2


def test_a_written_case_is_read_again(tmp_path: Path) -> None:
    from tests.fuzz.findings import write_case

    case = next(draw(6, n) for n in range(500) if draw(6, n).expansions)
    write_case(case, Outcome("wrong", "values"), tmp_path)
    entry = json.loads((tmp_path / "cases.jsonl").read_text(encoding="utf-8"))
    again = graph_task.load_case(tmp_path, entry)
    assert again.standard.SerializeToString() == case.standard.SerializeToString()
    assert again.build == case.build and again.exact == case.exact
