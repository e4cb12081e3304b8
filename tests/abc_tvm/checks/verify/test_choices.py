"""An index that a comparison chose is judged by the value that it points at."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import abc_tvm.checks.verify.network as verification
from abc_tvm.checks.verify.choices import ChosenIndices, choices
from tests.abc_tvm.checks.verify.test_reference import model

node = helper.make_node


def test_an_index_is_right_where_its_value_can_be_the_largest() -> None:
    value = np.array([[1.0, 3, 2, 3 - 1e-7, 3 - 1e-7, 0]])
    low, high = value - 1e-6, value + 1e-6
    choice = ChosenIndices("v", 1, 1, 1)
    right = [bool(choice.admits(np.array([i]), low, high)[0]) for i in range(6)]
    assert right == [False, True, False, True, True, False]
    least = [
        bool(ChosenIndices("v", 1, -1, 1).admits(np.array([i]), low, high)[0]) for i in range(6)
    ]
    assert least == [False] * 5 + [True]
    assert not choice.admits(np.array([6]), low, high)[0]
    assert not choice.admits(np.array([1.5]), low, high)[0]


def test_among_values_that_do_not_round_nothing_is_granted() -> None:
    value = np.array([[3.0, 1, 3]])
    assert not ChosenIndices("v", 1, 1, 1).admits(np.array([2]), value, value).any()


def test_ranks_behind_the_first() -> None:
    value = np.array([5.0, 4, 4 + 1e-7, 2])
    low, high = value - 1e-6, value + 1e-6
    choice = ChosenIndices("v", 0, 1, None)
    assert choice.admits(np.array([0, 1, 2]), low, high).tolist() == [True] * 3
    assert choice.admits(np.array([1, 0, 2]), low, high).tolist() == [False, False, True]
    assert choice.admits(np.array([0, 1, 1]), low, high).tolist() == [True, True, False]
    assert choice.admits(np.array([0, 1, 3]), low, high).tolist() == [True, True, False]


def chooser(weight: np.ndarray, op_type: str = "ArgMax", k: int = 0) -> onnx.ModelProto:
    """Dense layer, choice, Cast to int32, output ``i``."""
    last = node(op_type, ["s"], ["a"], axis=1, keepdims=0)
    if k:
        last = node("TopK", ["s", "k"], ["v", "a"], axis=1)
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        last,
        node("Cast", ["a"], ["i"], to=TensorProto.INT32),
    ]
    made = model(nodes, {"w": weight, "k": np.int64([k])}, {"x": [8, len(weight)]})
    dims = [8, k] if k else [8]
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("i", TensorProto.INT32, dims))
    return made


def test_choices_are_found_behind_casts() -> None:
    made = chooser(np.ones((4, 4), np.float32), "ArgMin")
    assert choices(made, ["i", "s"]) == {"i": ChosenIndices("s", 1, -1, 1)}
    made = chooser(np.ones((4, 4), np.float32), k=2)
    assert choices(made, ["i", "v"]) == {"i": ChosenIndices("s", 1, 1, None)}


@pytest.mark.parametrize(("op_type", "k"), [("ArgMax", 0), ("ArgMin", 0), ("TopK", 3)])
@pytest.mark.parametrize("fault", [False, True])
def test_columns_that_are_equal_in_real_numbers(
    op_type: str, k: int, fault: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that adds the other way round chooses another of equal columns, and passes.

    One that chooses another value fails, whether its index lies between the equal ones or not.
    """
    weight = rng.standard_normal((64, 9)).astype(np.float32)
    weight[:, [0, 8]] = weight[:, [4]]
    x = rng.standard_normal((8, 64)).astype(np.float32)
    made = chooser(weight, op_type, k)

    class Session:
        def __init__(self, session: Any) -> None:
            self.session = session

        def run(self, arrays: Any) -> dict[str, np.ndarray]:
            found = {name: np.array(v) for name, v in self.session.run(arrays).items()}
            index = found["i"]
            if fault:
                index[...] = np.where(index == 4, 6, (index + 1) % 9)
            else:
                turned = {0: 8, 8: 4, 4: 0}
                index[...] = np.vectorize(lambda n: turned.get(int(n), int(n)))(index)
            return found

    original = verification._load
    monkeypatch.setattr(verification, "_load", lambda *args: Session(original(*args)))
    outcome = verification.verify(made, inputs={"x": x})
    assert outcome.passed != fault, outcome.faults
    assert bool(outcome.faults) == fault
