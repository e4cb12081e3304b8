"""Pools: windows that reach into and over the padding, dilations, bytes, Indices, LpPool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper, shape_inference

from tests.abc_tvm.frontend.operators.judged import (
    Case,
    agree,
    compiled,
    refusal,
    run_onnxruntime,
    same,
)

SINCE = {"MaxPool": (10, 10), "AveragePool": (10, 19), "LpPool": (18, 18)}
"""The opsets that brought ``ceil_mode`` and ``dilations``."""


def draw(rng: np.random.Generator, op_type: str, opset: int) -> Case:
    """A random pool that onnxruntime takes."""
    dims = int(rng.integers(1, 4))
    size = [int(n) for n in rng.integers(4, 9, dims)]
    kernel = [int(n) for n in rng.integers(1, 4, dims)]
    attrs: dict[str, Any] = {"kernel_shape": kernel}
    attrs["strides"] = [int(n) for n in rng.integers(1, 4, dims)]
    ceil_since, dilated_since = SINCE[op_type]
    auto_pad = str(rng.choice(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad == "NOTSET":
        attrs["pads"] = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        if opset >= dilated_since and rng.random() < 0.4:
            attrs["dilations"] = [1 if k > 2 else int(rng.integers(1, 4)) for k in kernel]
    else:
        attrs["auto_pad"] = auto_pad
        # onnxruntime refuses padding below zero, which longer strides would make.
        attrs["strides"] = [min(s, k) for s, k in zip(attrs["strides"], kernel, strict=True)]
    if opset >= ceil_since and rng.random() < 0.6:
        attrs["ceil_mode"] = 1
    if op_type == "AveragePool" and rng.random() < 0.5:
        attrs["count_include_pad"] = 1
    if op_type == "LpPool":
        attrs["p"] = int(rng.integers(1, 4))
    return Case(op_type, {"x": image(rng, 2, 3, *size)}, attrs=attrs)


def image(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return (rng.standard_normal(shape) * 3).astype(dtype)


@pytest.mark.sweep("number", short=range(1), full=range(30))
@pytest.mark.parametrize(
    ("op_type", "opset"),
    [("MaxPool", 12), ("AveragePool", 11), ("AveragePool", 22), ("LpPool", 18)],
)
@pytest.mark.parametrize("open_batch", [False, True])
def test_random_windows(op_type: str, opset: int, open_batch: bool, number: int) -> None:
    rng = np.random.default_rng([number, opset, open_batch])
    agree([draw(rng, op_type, opset) for _ in range(8)], opset, open_batch=open_batch)


def test_windows_that_start_in_the_padding_are_dropped(rng: np.random.Generator) -> None:
    attrs = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
    x = {"x": image(rng, 1, 2, 5, 5)}
    cases = [Case(op, x, attrs=attrs) for op in ("MaxPool", "AveragePool")]
    cases.append(Case("AveragePool", x, attrs={**attrs, "count_include_pad": 1}))
    agree(cases, 12)


@pytest.mark.parametrize("declared", ["onnx", "onnxruntime", "nothing"])
def test_shapes_behind_a_dropped_window(rng: np.random.Generator, declared: str) -> None:
    """onnx infers a window too many: computed shapes and a second pool behind it follow ours."""
    pool = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], **pool),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], **pool),
        helper.make_node("Shape", ["c"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Gather", ["shape", "others"], ["rest"]),
        helper.make_node("ReduceProd", ["rest"], ["features"]),
        helper.make_node("Concat", ["batch", "features"], ["target"], axis=0),
        helper.make_node("Reshape", ["c", "target"], ["d"]),
        helper.make_node("MatMul", ["d", "weight"], ["y"]),
    ]
    stored = {
        "first": np.array([0]),
        "others": np.array([1, 2, 3]),
        "weight": image(rng, 16, 5),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 4, 14, 14])],
        [helper.make_tensor_value_info("y", 1, ["N", 5])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    if declared == "onnx":
        model = shape_inference.infer_shapes(model)
    elif declared == "onnxruntime":
        for name, size in (("a", 5), ("c", 2)):
            value = helper.make_tensor_value_info(name, 1, ["N", 4, size, size])
            model.graph.value_info.append(value)
    feeds = {"x": image(rng, 2, 4, 14, 14)}
    same(compiled(model).run(feeds)["y"], run_onnxruntime(model, feeds)["y"], declared)


def test_bytes_and_other_floats(rng: np.random.Generator) -> None:
    attrs = {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0]}
    cases = [
        Case("MaxPool", {"x": rng.integers(low, low + 256, (2, 3, 5, 4)).astype(t)}, attrs=attrs)
        for t, low in (("uint8", 0), ("int8", -128))
    ]
    cases += [
        Case("MaxPool", {"x": image(rng, 2, 3, 5, 4, dtype=t)}, attrs=attrs)
        for t in ("float16", "float64")
    ]
    agree(cases, 12)


@pytest.mark.parametrize("storage_order", [0, 1])
def test_indices(rng: np.random.Generator, storage_order: int) -> None:
    cases = []
    for size, attrs in (
        ([7], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
        ([5, 6], {"kernel_shape": [2, 3], "strides": [2, 1], "ceil_mode": 1}),
        ([6, 6], {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 0, 0, 1]}),
        ([4, 3, 4], {"kernel_shape": [2, 1, 2], "auto_pad": "SAME_LOWER"}),
    ):
        x = np.round(image(rng, 2, 3, *size))  # ties: the first tap is taken
        order = {"storage_order": storage_order}
        cases.append(Case("MaxPool", {"x": x}, attrs={**attrs, **order}, outputs=2))
    agree(cases, 12)


def test_global_pools(rng: np.random.Generator) -> None:
    cases = [
        Case(op, {"x": image(rng, 2, 3, *size)})
        for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
        for size in ([5], [4, 5], [2, 3, 4])
    ]
    agree(cases, 13)


def test_unpooling(rng: np.random.Generator) -> None:
    places = rng.permutation(2 * 3 * 4 * 6)[:36].reshape(2, 3, 2, 3)
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    feeds = {"x": image(rng, 2, 3, 2, 3), "i": places}
    stored = {"shape": np.array([2, 3, 4, 6])}
    agree([Case("MaxUnpool", feeds, attrs=attrs), Case("MaxUnpool", feeds, stored, attrs)], 11)
    larger = {"shape": np.array([2, 3, 5, 6])}
    assert "in two ways" in refusal(Case("MaxUnpool", feeds, larger, attrs), 11)


def test_refusals(rng: np.random.Generator) -> None:
    x = {"x": image(rng, 1, 1, 6, 6)}
    same_dilated = {"kernel_shape": [2, 2], "dilations": [2, 2], "auto_pad": "SAME_UPPER"}
    assert "give pads" in refusal(Case("MaxPool", x, attrs=same_dilated), 12)
    assert "window of 7" in refusal(Case("MaxPool", x, attrs={"kernel_shape": [7, 1]}), 12)
