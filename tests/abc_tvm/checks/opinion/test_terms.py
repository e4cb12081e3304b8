"""Weights that are multiples of one another are one weight, whatever sums spell them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import Joined, OnnxLayer
from abc_tvm.checks.opinion.terms import Factor, Term, clusters

RNG = np.random.default_rng(0)
A, B = (RNG.normal(size=(3, 4, 2, 2)).astype(np.float32) for _ in range(2))


def layer(data: str, weight: np.ndarray, stored: str) -> OnnxLayer:
    node = helper.make_node("Conv", [data, stored], [f"{data}{stored}"])
    return OnnxLayer(node.output[0], node, weight, None)


def terms(*layers: tuple[str, str, float], channels: int = 4) -> list[Term]:
    """Of a sum of ``coefficient * Conv(data, weight)``."""
    weights = {"a": A, "b": B, "wide": np.concatenate([A, A], 1)}
    made = tuple(layer(data, weights[name], name) for data, name, _ in layers)
    scales = np.array([[c] * 3 for _, _, c in layers])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xz"]
    turned = helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])
    again = helper.make_node("Transpose", ["x"], ["u"], perm=[0, 3, 1, 2])
    graph = OnnxGraph(helper.make_model(helper.make_graph([turned, again], "g", values, [])))
    return clusters(graph, Joined("y", made, scales, np.zeros(3), (0, 3, 1, 2)), channels)


def test_one_weight_on_two_tensors() -> None:
    ((weight, factors),) = terms(("x", "a", 2.0), ("z", "a", 0.5))
    np.testing.assert_array_equal(weight, 2 * A)
    assert factors == [Factor(1.0, "x", None), Factor(0.25, "z", None)]


def test_two_weights_on_one_tensor_are_their_sum() -> None:
    ((weight, factors),) = terms(("x", "a", 2.0), ("x", "b", -1.0))
    np.testing.assert_allclose(weight, 2 * A - B, rtol=1e-6)
    assert factors == [Factor(1.0, "x", None)]


def test_bases_by_levels() -> None:
    """ABC-Net's M by N convolutions are one weight on a sum of N tensors."""
    ((weight, factors),) = terms(
        ("x", "a", 1.0), ("x", "b", 3.0), ("z", "a", -0.5), ("z", "b", -1.5)
    )
    np.testing.assert_allclose(weight, A + 3 * B, rtol=1e-6)
    assert [(f.tensor, f.scale) for f in factors] == [("x", 1.0), ("z", -0.5)]


def test_weights_that_are_no_multiples_stay_apart() -> None:
    first, second = terms(("x", "a", 1.0), ("x", "b", 3.0), ("z", "a", 1.0), ("z", "b", 2.0))
    np.testing.assert_allclose(first[0], A + 3 * B, rtol=1e-6)
    np.testing.assert_allclose(second[0], A + 2 * B, rtol=1e-6)
    assert terms(("x", "a", 1.0), ("z", "b", 1.0))[1][1] == [Factor(1.0, "z", None)]


def test_one_transposition_written_twice_is_one_tensor() -> None:
    ((weight, factors),) = terms(("t", "a", 1.0), ("u", "b", 1.0))
    np.testing.assert_allclose(weight, A + B, rtol=1e-6)
    assert factors == [Factor(1.0, "t", None)]


def test_channels_of_a_tensor_that_was_put_together() -> None:
    ((weight, factors),) = terms(("x", "wide", 2.0), channels=4)
    np.testing.assert_array_equal(weight, 2 * A)
    assert factors == [Factor(1.0, "x", slice(0, 4)), Factor(1.0, "x", slice(4, 8))]
