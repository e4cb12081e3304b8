"""Normalisations in the forms that the importer lacks or gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.abc_tvm.frontend.operators.judged import (
    Case,
    agree,
    compiled,
    declared,
    refusal,
    run_onnxruntime,
    same,
)


def normal(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def statistics(rng: np.random.Generator, count: int, dtype: str = "float32") -> dict[str, Any]:
    stored = {name: normal(rng, count, dtype=dtype) for name in ("s", "b", "m")}
    return {**stored, "v": np.abs(normal(rng, count, dtype=dtype))}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_normalization(rng: np.random.Generator, dtype: str) -> None:
    cases = []
    for shape in ([2, 3, 4], [2, 3, 4, 5]):
        x, rest = normal(rng, *shape, dtype=dtype), statistics(rng, shape[1], dtype)
        cases += [
            Case("BatchNormalization", {"x": x}, rest, {"epsilon": 0.1}),
            Case("BatchNormalization", {"x": x, **rest}),
        ]
    agree(cases, 15)


def test_weights_through_batch_normalization(rng: np.random.Generator) -> None:
    """A stored tensor that is normalised is a constant, and so a convolution's weight."""
    stored = {"w": normal(rng, 4, 3, 3, 3), **statistics(rng, 3)}
    nodes = [
        helper.make_node("BatchNormalization", ["w", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Conv", ["x", "n"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 5, 5])],
        [helper.make_tensor_value_info("y", 1, [1, 4, 3, 3])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    feeds = {"x": normal(rng, 1, 3, 5, 5)}
    session = compiled(model)
    assert [layer["op"] for layer in session.info.layers] == ["Conv"]
    same(session.run(feeds)["y"], run_onnxruntime(model, feeds)["y"], "weights")


@pytest.mark.parametrize("outputs", [1, 3])
def test_layer_normalization(rng: np.random.Generator, outputs: int) -> None:
    cases = []
    for axis in (-1, 1, -3):
        x = normal(rng, 2, 3, 4)
        stored = {"s": normal(rng, *x.shape[axis:]), "b": normal(rng, *x.shape[axis:])}
        cases.append(Case("LayerNormalization", {"x": x}, stored, {"axis": axis}, outputs=outputs))
    agree(cases, 17)


def test_others(rng: np.random.Generator) -> None:
    x = {"x": normal(rng, 2, 6, 3, 4)}
    scale = {"s": normal(rng, 6), "b": normal(rng, 6)}
    cases = [
        Case("InstanceNormalization", x, scale),
        Case("InstanceNormalization", {**x, **scale}),
        Case("LRN", x, attrs={"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 1.5}),
        Case("MeanVarianceNormalization", x, attrs={"axes": [1, 2, 3]}),
        Case("LpNormalization", x, attrs={"axis": 1, "p": 1}),
        Case("LpNormalization", x, attrs={"axis": -1, "p": 2}),
        Case("LpNormalization", {"x": np.zeros((2, 3), np.float32)}),
    ]
    agree(cases, 9)


def test_rms_normalization_of_all_axes(rng: np.random.Generator) -> None:
    x, scale = normal(rng, 2, 3, 4), normal(rng, 2, 3, 4)
    case = Case("RMSNormalization", {"x": x}, {"s": scale}, {"axis": 0})
    model, feeds = declared(case, 23, [3])
    wanted = x / np.sqrt((x * x).mean() + 1e-5) * scale
    same(compiled(model).run(feeds)["y0"], wanted.astype(np.float32), "RMSNormalization")


def test_an_even_local_response(rng: np.random.Generator) -> None:
    """Judged by ONNX's text: onnxruntime takes odd sizes alone."""
    x = normal(rng, 2, 5, 3, 2)
    attrs = {"size": 4, "alpha": 0.5, "beta": 0.75, "bias": 1.0}
    model, feeds = declared(Case("LRN", {"x": x}, attrs=attrs), 13, [4])
    total = np.zeros_like(x)
    for c in range(5):
        total[:, c] = (x[:, max(0, c - 1) : min(5, c + 3)] ** 2).sum(1)
    wanted = x / (1 + np.float32(0.5 / 4) * total) ** np.float32(0.75)
    same(compiled(model).run(feeds)["y0"], wanted, "LRN")


def test_refusals(rng: np.random.Generator) -> None:
    x, rest = {"x": normal(rng, 2, 3, 4, 4)}, statistics(rng, 3)
    training = Case("BatchNormalization", x, rest, {"training_mode": 1}, outputs=3)
    assert "is in training mode" in refusal(training, 15, (4, 1, 1))
    old = Case("BatchNormalization", x, rest, outputs=5)
    assert "export the network in inference mode" in refusal(old, 9, (4, 1, 1, 1, 1))
