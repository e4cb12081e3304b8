"""Dropout, Col2Im, DepthToSpace and SpaceToDepth, regions of interest, sampling grids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.abc_tvm.frontend.operators.judged import (
    Case,
    agree,
    compiled,
    declared,
    refusal,
    same,
)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def test_dropout_keeps_everything(rng: np.random.Generator) -> None:
    x, stored = {"x": normal(rng, 2, 3)}, {"ratio": np.array(0.4, "f4"), "t": np.array(False)}
    agree([Case("Dropout", x, stored, outputs=2), Case("Dropout", x, outputs=2)], 13)


@pytest.mark.parametrize(
    ("block", "dilations", "strides", "image"),
    [([3], [2], [2], [9]), ([2, 3], [1, 2], [2, 1], [6, 7])],
)
def test_col2im(
    rng: np.random.Generator,
    block: list[int],
    dilations: list[int],
    strides: list[int],
    image: list[int],
) -> None:
    """Judged by its definition: onnxruntime's is wrong with dilations in one dimension."""
    axes = range(len(image))
    rows = [(image[i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in axes]
    x = normal(rng, 2, 2 * int(np.prod(block)), int(np.prod(rows)))
    stored = {"image": np.array(image), "block": np.array(block)}
    attrs = {"dilations": dilations, "strides": strides}
    model, feeds = declared(Case("Col2Im", {"x": x}, stored, attrs), 18, [2 + len(image)])
    wanted = np.zeros((2, 2, *image), np.float32)
    parts = x.reshape(2, 2, *block, *rows)
    for tap in itertools.product(*map(range, block)):
        for row in itertools.product(*map(range, rows)):
            place = tuple(row[i] * strides[i] + tap[i] * dilations[i] for i in axes)
            wanted[(..., *place)] += parts[(..., *tap, *row)]
    same(compiled(model).run(feeds)["y0"], wanted, "Col2Im")


def test_depth_and_space(rng: np.random.Generator) -> None:
    deep = {"x": normal(rng, 2, 12, 2, 3)}
    cases = [Case("DepthToSpace", deep, attrs={"blocksize": 2, "mode": m}) for m in ("DCR", "CRD")]
    cases.append(Case("SpaceToDepth", {"x": normal(rng, 2, 3, 4, 6)}, attrs={"blocksize": 2}))
    agree(cases, 13, open_batch=True)


@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
def test_roi_align(rng: np.random.Generator, mode: str) -> None:
    rois = np.array([[0, 0, 5, 5], [1.5, 2, 7, 6.5]], np.float32)
    feeds = {"x": normal(rng, 2, 3, 8, 8), "rois": rois, "batch": np.array([1, 0])}
    attrs = {"output_height": 2, "output_width": 3, "sampling_ratio": 2}
    attrs["coordinate_transformation_mode"] = mode
    agree([Case("RoiAlign", feeds, attrs={**attrs, "spatial_scale": s}) for s in (1.0, 0.5)], 16)


def test_grids(rng: np.random.Generator) -> None:
    grid = rng.uniform(-1.4, 1.4, (2, 3, 4, 2)).astype(np.float32)
    feeds = {"x": normal(rng, 2, 3, 5, 4), "grid": grid}
    cases = [
        Case("GridSample", feeds, attrs={"mode": m, "padding_mode": p, "align_corners": c})
        for m, p, c in (
            ("linear", "zeros", 0),
            ("linear", "reflection", 1),
            ("nearest", "border", 1),
            ("cubic", "zeros", 0),
        )
    ]
    theta, size = {"t": normal(rng, 2, 2, 3)}, {"z": np.array([2, 3, 4, 5])}
    cases += [Case("AffineGrid", theta, size, {"align_corners": a}) for a in (0, 1)]
    agree(cases, 20)


def test_refusals(rng: np.random.Generator) -> None:
    x = {"x": normal(rng, 1, 2, 3, 3)}
    stored = {"ratio": np.array(0.4, "f4"), "training": np.array(True)}
    assert "is in training mode" in refusal(Case("Dropout", x, stored), 13)
    feeds = {**x, "rois": np.zeros((1, 4), np.float32), "batch": np.array([0])}
    assert "has mode max" in refusal(Case("RoiAlign", feeds, attrs={"mode": "max"}), 16)
