"""Outputs that agree, that rounding or a flipped bit explains, and that do not."""

from __future__ import annotations

from typing import cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.engines.agreement import INT8_LIMIT, ROUNDING, Agreement, Reference, References
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.errors import UserError
from tests.abc_tvm.small_networks import network

Array = np.ndarray


class Fixed:
    """An engine whose outputs are given: at the inputs themselves, and where they have moved."""

    def __init__(self, outputs: Array, moved: Array) -> None:
        self.outputs, self.moved, self.runs = outputs, moved, 0

    def run(self, _: object) -> dict[str, Array]:
        self.runs += 1
        return {"y": self.outputs if self.runs == 1 else self.moved}


def reference(drift: float, *, thresholds: bool = False) -> Reference:
    wanted = np.full((1, 100), 1.0, np.float32)
    engine = cast(OnnxEngine, Fixed(wanted, wanted * np.float32(1 + drift)))
    return Reference("model", engine, {"x": np.ones(3, np.float32)}, thresholds)


def judge(made: Reference, error: float, *, int8: bool = False) -> Agreement:
    return made.judge("e", {"y": np.full((1, 100), 1 + error, np.float32)}, int8=int8)


@pytest.mark.parametrize(
    ("drift", "thresholds", "error", "agrees"),
    [
        (0.0, False, 0.0, True),
        (0.0, False, ROUNDING / 2, True),
        (0.0, False, ROUNDING * 2, False),
        (0.0, True, 0.09, True),
        (0.0, True, 0.11, False),
        (0.3, False, 0.29, True),
        (0.3, True, 0.31, False),
        (5.0, True, 0.69, True),
        (5.0, True, 0.71, False),
    ],
)
def test_exact_engines(drift: float, thresholds: bool, error: float, agrees: bool) -> None:
    assert judge(reference(drift, thresholds=thresholds), error).agrees is agrees


def test_int8_has_a_limit_of_its_own() -> None:
    assert judge(reference(0.0), INT8_LIMIT * 0.9, int8=True).agrees
    refused = judge(reference(0.0), INT8_LIMIT + 0.05, int8=True)
    assert not refused.agrees
    assert "e is not timed: its outputs of the model are 0.4 (relative, 2-norm)" in refused.line()
    assert judge(reference(0.0, thresholds=True), 0.6, int8=True).agrees
    assert not judge(reference(0.0, thresholds=True), 0.75, int8=True).agrees


def test_other_names_shapes_and_values_do_not_agree() -> None:
    made = reference(5.0, thresholds=True)
    right = np.ones((1, 100), np.float32)
    assert made.judge("e", {"y": right}).agrees
    assert not made.judge("e", {"z": right}).agrees
    assert not made.judge("e", {"y": right[:, :50]}).agrees
    wrong = right.copy()
    wrong[0, 7] = np.nan
    assert not made.judge("e", {"y": wrong}).agrees


def test_a_float_network_with_other_inputs_is_refused_by_name() -> None:
    other = onnx.ModelProto()
    other.CopyFrom(network(binary=False))
    other.graph.input[0].name = "image"
    other.graph.node[0].input[0] = "image"
    found = References({"float model": other}, 1, 1)
    inputs = {"input": np.ones((1, 8, 6, 6), np.float32)}
    with pytest.raises(UserError, match="float model has the inputs image"):
        found.judge("torch", "float model", inputs, {"output": np.ones((1, 4, 6, 6), np.float32)})


def test_the_reference_is_the_graph_itself() -> None:
    weight = numpy_helper.from_array(np.float32([[2.0]]), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    found = References({"model": model}, 1, 1)
    inputs = {"x": np.float32([[3.0]])}
    right = found.judge("e", "model", inputs, {"y": np.float32([[6.0]])})
    wrong = found.judge("e", "model", inputs, {"y": np.float32([[6.1]])})
    assert right is not None and right.agrees
    assert (
        wrong is not None and not wrong.agrees and wrong.error == pytest.approx(0.1 / 6, rel=1e-3)
    )
