"""A layer as lowerings are asked about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.lowerings.candidate import Candidate
from abc_tvm.targets import load
from tests.relay_passes.relax_graph import binary, image, signs, step

PLANES = signs(3, 6, 3, 3, 4)
ALPHA = np.linspace(0.5, 2, 18, dtype=np.float32).reshape(3, 6)


def candidate(at: list[float], levels: list[float] | None = None, **window: Any) -> Candidate:
    x = image("x", 4)
    arrays = {} if levels is None else {"levels": np.float32(levels)}
    steps = steps_of(step(x, 4, at, **arrays))
    return Candidate(binary(x, PLANES, ALPHA, **window), steps, load("zen4"), N=7)


def test_it_has_the_layers_own_values() -> None:
    layer = candidate([0])
    np.testing.assert_array_equal(layer.planes, PLANES)
    np.testing.assert_array_equal(layer.alpha, ALPHA)
    assert (layer.M, layer.N, layer.allowed) == (3, 7, None)
    assert layer.window.kernel == (3, 3) and layer.window.out_channels == 6


@pytest.mark.parametrize(
    ("at", "levels", "kind", "planes"),
    [
        ([0], None, "thermometer", 1),
        ([0, 1], None, "thermometer", 2),
        ([0, 1, 2], None, "binary", 2),
        ([0, 1, 2], [0, 1, 2, 4], "thermometer", 3),
        ([0, 1, 2, 3, 4, 5, 6], None, "binary", 3),
    ],
)
def test_pairs_are_of_the_fewest_planes(
    at: list[float], levels: list[float] | None, kind: str, planes: int
) -> None:
    layer = candidate(at, levels)
    assert (layer.code.kind, layer.code.planes, layer.pairs) == (kind, planes, 3 * planes)


@pytest.mark.parametrize(
    ("window", "pixels"),
    [({}, 9), ({"padding": [1, 1, 1, 1]}, 25), ({"strides": [2, 2], "padding": [0, 1, 0, 1]}, 6)],
)
def test_comparisons_for_each_multiply_accumulate(window: dict[str, Any], pixels: int) -> None:
    """Every element of the input meets every threshold once, whatever reads it."""
    layer = candidate([0, 1, 2], **window)
    assert layer.window.macs == pixels * 6 * 4 * 9
    assert layer.compared == pytest.approx(3 * 25 * 4 / (pixels * 6 * 4 * 9))
