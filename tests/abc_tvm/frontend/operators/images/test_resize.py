"""Resize and Upsample: every mode, coordinate, rounding and opset, on any axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from abc_tvm.frontend import simplify
from tests.abc_tvm.frontend.operators.judged import (
    Case,
    agree,
    compiled,
    model_of,
    refusal,
    run_onnxruntime,
    same,
)

COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
FACTORS = [0.5, 0.6, 1 / 3, 0.8, 1.5, 2, 2.6, 3]


def draw(rng: np.random.Generator, opset: int) -> Case:
    """A random resize that onnxruntime takes."""
    mode = str(rng.choice(["nearest", "linear", "cubic"] if opset > 10 else ["nearest", "linear"]))
    axes = [2, 3] if mode == "cubic" or rng.random() < 0.6 else [1, 2]
    shape = [2, 3, 4, 5]
    shape[axes[0]], shape[axes[1]] = int(rng.integers(3, 8)), int(rng.integers(3, 8))
    x = (rng.standard_normal(shape) * 3).astype(np.float32)
    attrs: dict[str, Any] = {"mode": mode}
    scales = np.ones(4, np.float32)
    scales[axes] = rng.choice(FACTORS, 2)
    if opset == 10:
        return Case("Resize", {"x": x}, {"scales": scales}, attrs)
    coordinates = [*COORDINATES, *(["half_pixel_symmetric"] if opset > 18 else [])]
    attrs["coordinate_transformation_mode"] = str(rng.choice(coordinates))
    if mode == "nearest":
        attrs["nearest_mode"] = str(rng.choice(ROUNDINGS))
        if attrs["coordinate_transformation_mode"] == "half_pixel_symmetric":
            attrs["coordinate_transformation_mode"] = "half_pixel"  # see test_refusals
    if mode == "cubic":
        attrs["exclude_outside"] = int(rng.integers(0, 2))
        attrs["cubic_coeff_a"] = float(rng.choice([-0.5, -0.75]))
    fixed = attrs["coordinate_transformation_mode"] == "align_corners"
    if fixed or rng.random() < 0.5:
        sizes = np.array(shape, np.int64)
        sizes[axes] = rng.integers(1, 12, 2)
        return Case("Resize", {"x": x}, {"sizes": sizes}, attrs, ["x", "", "", "sizes"])
    return Case("Resize", {"x": x}, {"scales": scales}, attrs, ["x", "", "scales"])


@pytest.mark.sweep("number", short=range(1), full=range(40))
@pytest.mark.parametrize("opset", [10, 13, 19])
def test_random(opset: int, number: int) -> None:
    rng = np.random.default_rng([number, opset])
    agree([draw(rng, opset) for _ in range(8)], opset)


def test_one_and_three_dimensions_with_an_open_batch(rng: np.random.Generator) -> None:
    cases = []
    for size in ([7], [4, 5, 3]):
        scales = np.array([1, 1, *[1.7] * len(size)], np.float32)
        for mode in ("nearest", "linear"):
            x = rng.standard_normal((2, 3, *size)).astype(np.float32)
            cases.append(Case("Resize", {"x": x}, {"s": scales}, {"mode": mode}, ["x", "", "s"]))
    agree(cases, 13, open_batch=True)


def test_crop_and_resize(rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 2, 6, 5)).astype(np.float32)
    roi = np.array([0, 0, -0.1, 0.3, 1, 1, 0.6, 1.2], np.float32)
    cases = []
    for mode in ("nearest", "linear", "cubic"):
        attrs = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize"}
        attrs["extrapolation_value"] = 2.5
        stored = {"roi": roi, "sizes": np.array([1, 2, 4, 7])}
        cases.append(Case("Resize", {"x": x}, stored, attrs, ["x", "roi", "", "sizes"]))
    agree(cases, 13)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_axes_and_aspect_ratio(rng: np.random.Generator, policy: str) -> None:
    x = rng.standard_normal((1, 5, 7, 2)).astype(np.float32)
    attrs = {"mode": "linear", "keep_aspect_ratio_policy": policy}
    cases = [
        Case("Resize", {"x": x}, {"z": np.array(z)}, {**attrs, "axes": axes}, ["x", "", "", "z"])
        for axes, z in (([1, 2], [8, 9]), ([2, 1], [3, 4]))
    ]
    agree(cases, 18)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_nearest_moves_any_type(rng: np.random.Generator, dtype: str) -> None:
    x = rng.integers(0, 200, (1, 2, 4, 5)).astype(dtype)
    scales = np.array([1, 1, 2.6, 0.5], np.float32)
    agree([Case("Resize", {"x": x}, {"s": scales}, {}, ["x", "", "s"])], 13)


def test_upsample(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    cases = [
        Case("Upsample", {"x": x}, {"s": np.array([1, 1, *s], np.float32)}, {"mode": mode})
        for mode in ("nearest", "linear")
        for s in ((2, 2), (1.5, 2.6))
    ]
    agree(cases, 9)


def test_sizes_that_a_computed_shape_gives(rng: np.random.Generator) -> None:
    """As PyTorch exports ``interpolate(x, size=…)`` with an open batch."""
    make = onnx.helper.make_node
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Slice", ["shape", "zero", "two"], ["head"]),
        make("Concat", ["head", "image"], ["sizes"], axis=0),
        make("Resize", ["x", "", "", "sizes"], ["y"], mode="linear"),
    ]
    stored = {"zero": [0], "two": [2], "image": [7, 9]}
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["N", 3, 4, 5])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 3, 7, 9])],
        [onnx.numpy_helper.from_array(np.array(v), k) for k, v in stored.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    feeds = {"x": rng.standard_normal((2, 3, 4, 5)).astype(np.float32)}
    same(compiled(model).run(feeds)["y"], run_onnxruntime(model, feeds)["y"], "sizes")


def test_whole_factors_are_left_to_the_importer(rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 2, 4, 5)).astype(np.float32)
    attrs = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales = np.array([1, 1, 2, 3], np.float32)
    model, _ = model_of([Case("Resize", {"x": x}, {"s": scales}, attrs, ["x", "", "s"])], 13)
    assert [node.op_type for node in simplify(model).graph.node] == ["Resize"]


def test_refusals(rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 2, 4, 5)).astype(np.float32)

    def line(attrs: dict[str, Any], scale: float = 0.6, opset: int = 18) -> str:
        scales = np.array([1, 1, scale, 1], np.float32)
        return refusal(Case("Resize", {"x": x}, {"s": scales}, attrs, ["x", "", "s"]), opset)

    assert "has antialias where it shrinks" in line({"mode": "linear", "antialias": 1})
    corners = {"coordinate_transformation_mode": "align_corners"}
    assert "gives a fractional size; give sizes" in line(corners)
    assert "leaves nothing of an axis" in line({}, scale=0.2)
    halves = {"coordinate_transformation_mode": "half_pixel_symmetric", "nearest_mode": "floor"}
    sizes = {"z": np.array([1, 2, 4, 1])}
    near = Case("Resize", {"x": x[..., :3]}, sizes, halves, ["x", "", "", "z"])
    assert "node 'node': operator Resize has half_pixel_symmetric with places" in refusal(near, 19)
    computed = Case("Resize", {"x": x, "s": np.ones(4, np.float32)}, {}, {}, ["x", "", "s"])
    assert "computes its scales at run time" in refusal(computed, 18)
