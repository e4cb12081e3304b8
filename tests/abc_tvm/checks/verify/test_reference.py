"""What rounding explains, and what it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.checks.verify.reference import Rounding, continued, inputs_of, with_outputs
from abc_tvm.engines.onnx_engine import OnnxEngine

Array = np.ndarray


def model(nodes: list[Any], weights: dict[str, Array], inputs: dict[str, list[Any]]) -> Any:
    """All of float32; the output is ``y``."""
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info(name, kind, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 8
    return made


def span(made: onnx.ModelProto, arrays: dict[str, Array]) -> tuple[Array, Array, Array]:
    """onnxruntime's ``y``, and the least and the largest under moved roundings."""
    right = OnnxEngine(made, optimise=False).run(arrays)["y"]
    runs = [run["y"] for run in Rounding(made, arrays, {}).runs()]
    return right, np.minimum.reduce([right, *runs]), np.maximum.reduce([right, *runs])


def signs(weight: Array) -> onnx.ModelProto:
    node = helper.make_node
    nodes = [node("MatMul", ["x", "w"], ["s"]), node("Sign", ["s"], ["y"])]
    return model(nodes, {"w": weight}, {"x": ["N", len(weight)]})


def test_a_sum_that_vanishes_may_have_either_sign(rng: np.random.Generator) -> None:
    """Sums of 500 products that are 0 but for rounding, and sums of 0.05 on a scale of 22."""
    x = rng.standard_normal((1, 500)).astype(np.float32)
    weight = rng.standard_normal((500, 400)).astype(np.float32)
    wanted = np.where(np.arange(400) < 200, 0.0, 0.05)
    rest = x[:, :-1].astype(np.float64) @ weight[:-1]
    weight[-1] = ((wanted - rest) / x[0, -1])[0]
    right, low, high = span(signs(weight), {"x": x})
    assert {-1.0, 1.0} <= set(right[0, :200]), "no sum was moved by rounding"
    np.testing.assert_array_equal(low[0, :200], -1)
    np.testing.assert_array_equal(high[0, :200], 1)
    np.testing.assert_array_equal(low[0, 200:], 1)


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_an_exact_sum_is_not_moved(step: float, rng: np.random.Generator) -> None:
    x = rng.integers(-3, 4, (8, 64)).astype(np.float32) * np.float32(step)
    weight = rng.choice([-1, 1], (64, 200)).astype(np.float32)
    right, low, high = span(signs(weight), {"x": x})
    assert (right == 0).any()
    np.testing.assert_array_equal(low, right)
    np.testing.assert_array_equal(high, right)


def test_a_tie_of_scaled_integers_is_not_moved(rng: np.random.Generator) -> None:
    """Sign(0.3 * n): the product rounds, but 0 stays 0."""
    node = helper.make_node
    weights = {"w": rng.choice([-1, 1], (16, 200)).astype(np.float32), "a": np.float32(0.3)}
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Mul", ["s", "a"], ["t"]),
        node("Sign", ["t"], ["y"]),
    ]
    x = rng.choice([-1, 1], (8, 16)).astype(np.float32)
    right, low, high = span(model(nodes, weights, {"x": ["N", 16]}), {"x": x})
    assert (right == 0).any()
    np.testing.assert_array_equal(low, right)
    np.testing.assert_array_equal(high, right)


def test_a_network_continues_from_what_is_given() -> None:
    node = helper.make_node
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Mul", ["a", "two"], ["b"]),
        node("Add", ["b", "a"], ["y"]),
    ]
    made = model(nodes, {"two": np.float32(2)}, {"x": [3]})
    x, given = np.float32([1, 2, 3]), {"b": np.float32([10, 20, 30])}
    found = OnnxEngine(continued(made, given), optimise=False).run(inputs_of({"x": x}, given))
    np.testing.assert_array_equal(found["b"], -2 * x)
    np.testing.assert_array_equal(found["y"], given["b"] - x)
    shown = OnnxEngine(with_outputs(made, ["a", "b", "b"]), optimise=False).run({"x": x})
    assert set(shown) == {"y", "a", "b"}
