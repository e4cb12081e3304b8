"""Pad in every mode and opset, pads below zero, and CenterCropPad."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from abc_tvm.frontend import simplify
from tests.abc_tvm.frontend.operators.judged import (
    Case,
    agree,
    compiled,
    declared,
    model_of,
    refusal,
)


def draw(rng: np.random.Generator, opset: int) -> Case:
    """A random Pad that onnxruntime takes."""
    rank = int(rng.integers(1, 6))
    shape = [int(n) for n in rng.integers(3, 6, rank)]
    modes = ["constant", "constant", "edge", "reflect", *(["wrap"] if opset > 18 else [])]
    mode = str(rng.choice(modes))
    types = ["float32", "float32", "float64", "int32", "int64", "uint8", "bool"]
    dtype = str(rng.choice(types)) if opset > 12 else "float32"
    x = (rng.standard_normal(shape) * 9).astype(dtype)
    pads = [int(rng.integers(-1, 3)) if rng.random() < 0.7 else 0 for _ in range(2 * rank)]
    if opset < 11:
        return Case("Pad", {"x": x}, attrs={"mode": mode, "pads": pads, "value": 1.5})
    feeds, stored, inputs = {"x": x}, {"pads": np.array(pads)}, ["x", "pads"]
    if mode == "constant" and rng.random() < 0.6:
        where = feeds if rng.random() < 0.4 else stored
        where["value"] = np.array(1).astype(dtype)
        inputs.append("value")
    if opset >= 18 and rng.random() < 0.5:
        axes = rng.permutation(rank)[: int(rng.integers(1, rank + 1))]
        stored["axes"] = np.where(rng.random(axes.size) < 0.5, axes, axes - rank)
        stored["pads"] = stored["pads"][[*axes, *(axes + rank)]]
        inputs = [*inputs, *[""] * (3 - len(inputs)), "axes"]
    return Case("Pad", feeds, stored, {"mode": mode}, inputs)


@pytest.mark.sweep("number", short=range(1), full=range(40))
@pytest.mark.parametrize("opset", [11, 13, 19])
def test_random(opset: int, number: int) -> None:
    rng = np.random.default_rng([number, opset])
    agree([draw(rng, opset) for _ in range(8)], opset)


def test_an_open_batch(rng: np.random.Generator) -> None:
    cases = []
    for mode in ("constant", "edge", "reflect", "wrap"):
        pads = np.array([0, 0, 2, -1, 0, 0, -1, 2])
        x = rng.standard_normal((2, 3, 5, 4)).astype(np.float32)
        cases.append(Case("Pad", {"x": x}, {"pads": pads}, {"mode": mode}))
    agree(cases, 19, open_batch=True)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_padding_of_floats_is_left_to_the_importer(mode: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 3, 5, 4)).astype(np.float32)
    stored = {"pads": np.array([0, 0, 1, 2, 0, 0, 2, 1])}
    model, _ = model_of([Case("Pad", {"x": x}, stored, {"mode": mode})], 13)
    assert [node.op_type for node in simplify(model).graph.node] == ["Pad"]


def test_center_crop_pad() -> None:
    x = np.arange(35, dtype=np.float32).reshape(5, 7)
    case = Case("CenterCropPad", {"x": x}, {"shape": np.array([8, 4])})
    model, feeds = declared(case, 18, [2])
    wanted = np.pad(x[:, 1:5], ((1, 2), (0, 0)))
    np.testing.assert_array_equal(compiled(model).run(feeds)["y0"], wanted)


def test_refusals(rng: np.random.Generator) -> None:
    x = {"x": rng.standard_normal((1, 2, 3, 3)).astype(np.float32)}

    def line(pads: list[int], **attrs: Any) -> str:
        return refusal(Case("Pad", x, {"pads": np.array(pads)}, attrs), 13)

    assert "cuts all of an axis" in line([0, 0, -2, 0, 0, 0, -1, 0])
    assert "unknown mode 'mirror'" in line([0] * 8, mode="mirror")
    computed = Case("Pad", {**x, "pads": np.zeros(8, np.int64)})
    assert "computes its pads at run time" in refusal(computed, 13)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_scalar_has_no_axis_to_pad(dtype: str) -> None:
    """onnxruntime refuses it, though ONNX does not."""
    case = Case("Pad", {"x": np.array(3, dtype)}, {"pads": np.zeros(0, np.int64)})
    model, feeds = declared(case, 13, [0])
    np.testing.assert_array_equal(compiled(model).run(feeds)["y0"], np.array(3, dtype))


@pytest.mark.parametrize(
    ("opset", "mode"),
    [*product((8, 11, 13, 18, 19), ("constant", "edge", "reflect")), (19, "wrap")],
)
def test_a_pad_of_no_width_is_nothing(opset: int, mode: str, rng: np.random.Generator) -> None:
    x = {"x": rng.standard_normal((1, 3, 5, 4)).astype(np.float32)}
    if opset < 11:
        case = Case("Pad", x, attrs={"mode": mode, "pads": [0] * 8, "value": 2.0})
    elif opset < 18:
        case = Case("Pad", x, {"pads": np.zeros(8, np.int64)}, {"mode": mode})
    else:
        stored = {"pads": np.zeros(4, np.int64), "axes": np.array([2, -1])}
        case = Case("Pad", x, stored, {"mode": mode}, ["x", "pads", "", "axes"])
    model, _ = model_of([case], opset)
    assert "Pad" not in [node.op_type for node in simplify(model).graph.node]
    agree([case], opset)


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3]])
@pytest.mark.parametrize("fill", [0.0, -1.0])
def test_axes_are_written_out(axes: list[int], fill: float, rng: np.random.Generator) -> None:
    """So zero padding moves into the convolutions behind it, as without axes."""
    x = {"x": rng.standard_normal((1, 3, 5, 4)).astype(np.float32)}
    stored = {
        "pads": np.arange(1, 2 * len(axes) + 1),
        "fill": np.float32(fill),
        "axes": np.array(axes),
    }
    case = Case("Pad", x, stored, {}, ["x", "pads", "fill", "axes"])
    model, _ = model_of([case], 18)
    (node,) = simplify(model).graph.node
    assert node.op_type == "Pad" and len(node.input) == 3
    agree([case], 18)
