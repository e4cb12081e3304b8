"""Div and Mod: no divisor ends the process, and what is a quotient is the right one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import abc_tvm
from abc_tvm.errors import ModelError, UnsupportedError
from tests.abc_tvm.frontend.operators.judge import agrees, model_of
from tests.operators.judge import in_memory

INTEGERS = [np.int8, np.int32, np.int64, np.uint8, np.uint32]


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_integers_by_what_only_a_run_knows(operator: str, kind: type) -> None:
    ends = np.iinfo(kind)
    x = [7, 7, 7, ends.max, ends.min, 0, 5, ends.max]
    by = [2, 3, 1, 3, 3, 1, ends.max, ends.max]
    if ends.min < 0:
        x += [7, -7, -7, 5, 0, ends.max, ends.min]
        by += [-2, 2, -2, -1, -1, -1, ends.min]
    pairs = list(zip(map(int, x), map(int, by), strict=True))
    towards_zero = [abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) for a, b in pairs]
    wanted = towards_zero if operator == "Div" else [a % b for a, b in pairs]
    arrays = {"x": np.array(x, kind), "by": np.array(by, kind)}
    agrees(model_of(operator, arrays, opset=14), arrays, [np.array(wanted, kind)])


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_zero_and_the_least_number_by_minus_one_end_nothing(operator: str, kind: type) -> None:
    ends = np.iinfo(kind)
    x = np.array([9, ends.min, ends.min, 9]).astype(kind)
    by = np.array([0, -1 if ends.min < 0 else 0, 0, 3]).astype(kind)
    model = model_of(operator, {"x": x, "by": by}, opset=14)
    (found,) = in_memory(model).run({"x": x, "by": by}).values()
    assert found[3] == (3 if operator == "Div" else 0)


@pytest.mark.parametrize(
    ("operator", "by"),
    [
        ("Div", np.float32(0)),
        ("Div", np.float32(-0.0)),
        ("Div", np.zeros(4, np.float32)),
        ("Div", np.array([1, 0, 2, 3], np.int32)),
        ("Mod", np.array([1, 0, 2, 3], np.int64)),
    ],
)
def test_a_stored_zero_is_refused(operator: str, by: np.ndarray) -> None:
    by = np.asarray(by)
    model = _by_stored(operator, by)
    with pytest.raises(UnsupportedError, match=f"'n': operator {operator} divides by a stored 0"):
        abc_tvm.compile(model)


@pytest.mark.parametrize("by", [[2, -3, 1, 7], [2, -1, 1, 7]])
def test_integers_by_stored_ones(by: list[int]) -> None:
    x = np.array([-7, 9, 2**31 - 1, -8], np.int32)
    wanted = np.trunc(x / np.array(by)).astype(np.int32)
    agrees(_by_stored("Div", np.array(by, np.int32)), {"x": x}, [wanted])


@pytest.mark.parametrize("slope", [(1, 1, 4), (3, 2, 1), (1, 2, 3, 3, 3)])
def test_a_slope_that_does_not_fit_is_named(slope: tuple[int, ...]) -> None:
    values = np.ones(slope, np.float32)
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "s"], ["y"], name="p")],
        "g",
        [helper.make_tensor_value_info("x", 1, (1, 2, 3, 3))],
        [helper.make_tensor_value_info("y", 1, (1, 2, 3, 3))],
        [numpy_helper.from_array(values, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    with pytest.raises(ModelError, match="'p': operator PRelu: the slope has the shape"):
        abc_tvm.compile(model)


def _by_stored(operator: str, by: np.ndarray) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(by.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "by"], ["y"], name="n")],
        "g",
        [helper.make_tensor_value_info("x", kind, (4,))],
        [helper.make_tensor_value_info("y", kind, (4,))],
        [numpy_helper.from_array(by, "by")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=9)


def test_a_stored_scale_of_zero_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], name="n")],
        "g",
        [helper.make_tensor_value_info("x", 1, (4,))],
        [helper.make_tensor_value_info("y", 3, (4,))],
        [numpy_helper.from_array(np.array(0, t), n) for n, t in (("s", "f4"), ("z", "i1"))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=9)
    with pytest.raises(UnsupportedError, match="'n': operator QuantizeLinear has a stored scale"):
        abc_tvm.compile(model)
