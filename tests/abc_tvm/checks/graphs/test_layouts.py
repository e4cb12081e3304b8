"""A tensor of one graph and its form in the other: there and back, and every way that fits."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.checks.graphs.layouts import (
    NCHW,
    ROW,
    SAME,
    TOKENS,
    Lying,
    flat,
    kernel_of,
    lyings,
    slices,
)

X = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
"""An image ``[B, H, W, C]``."""


@pytest.mark.parametrize("lying", [SAME, NCHW, flat(3, 4, 5, True), flat(3, 4, 5, False)])
def test_there_and_back(lying: Lying) -> None:
    np.testing.assert_array_equal(lying.from_onnx(lying.to_onnx(X)), X)


@pytest.mark.parametrize("lying", [ROW, TOKENS])
def test_rows_there_and_back(lying: Lying) -> None:
    x = X[:, :1]
    assert lying.to_onnx(x).shape == ((2, 5, 4) if lying is ROW else (2, 4, 5))
    np.testing.assert_array_equal(lying.from_onnx(lying.to_onnx(x)), x)


def test_the_graphs_own_form() -> None:
    assert NCHW.to_onnx(X).shape == (2, 5, 3, 4)
    np.testing.assert_array_equal(flat(3, 4, 5, True).to_onnx(X), X.reshape(2, -1))
    wanted = X.transpose(0, 3, 1, 2).reshape(2, -1)
    np.testing.assert_array_equal(flat(3, 4, 5, False).to_onnx(X), wanted)


@pytest.mark.parametrize(
    ("onnx", "relax", "wanted"),
    [
        ((2, 5, 3, 4), (2, 3, 4, 5), ["nchw"]),
        ((9, 5, 3, 4), (2, 3, 4, 5), ["nchw"]),
        ((2, 4, 4, 4), (2, 4, 4, 4), ["same", "nchw"]),
        ((2, 4, 4, 5), (2, 4, 4, 5), ["same"]),
        ((2, 7), (2, 7), ["same"]),
        ((2, 60), (2, 3, 4, 5), ["flat_chw", "flat_hwc"]),
        ((2, 5), (2, 1, 1, 5), ["flat_chw"]),
        ((2, 61), (2, 3, 4, 5), []),
        ((2, 5, 4), (2, 1, 4, 5), ["row"]),
        ((2, 4, 5), (2, 1, 4, 5), ["tokens"]),
        ((2, 4, 4), (2, 1, 4, 4), ["row", "tokens"]),
        ((2, 5, 4), (2, 2, 2, 5), []),
        ((2, 5, 4, 3), (2, 3, 4, 5), []),
        ((2, 3, 4), (2, 3, 4, 5), []),
    ],
)
def test_every_way_that_fits(
    onnx: tuple[int, ...], relax: tuple[int, ...], wanted: list[str]
) -> None:
    assert [one.name for one in lyings(onnx, relax)] == wanted


@pytest.mark.parametrize("axis", [1, 2, 3, 4])
def test_an_image_may_be_a_slice(axis: int) -> None:
    shape = [2, 5, 3, 4]
    shape.insert(axis, 7)
    whole = np.random.default_rng(0).standard_normal(shape)
    ways = slices(tuple(shape), X.shape)
    assert len(ways) == 7 and not slices((2, 5, 3, 4), X.shape)
    for at, way in enumerate(ways):
        np.testing.assert_array_equal(way.from_onnx(whole), NCHW.from_onnx(whole.take(at, axis)))
        made = way.to_onnx(X)
        assert made.shape == tuple(shape)
        np.testing.assert_array_equal(way.from_onnx(made), X)
        others = [one.from_onnx(made) for k, one in enumerate(ways) if k != at]
        assert all(not np.array_equal(other, X) for other in others)


def test_a_dense_layer_is_the_convolution_of_its_flattened_image() -> None:
    weight = np.random.default_rng(0).integers(-3, 4, (6, 60))
    for way, first in (("flat_hwc", True), ("flat_chw", False)):
        wanted = flat(3, 4, 5, first).to_onnx(X) @ weight.T
        kernel = kernel_of(weight, (3, 4), way)
        np.testing.assert_array_equal(np.einsum("bhwc,ohwc->bo", X, kernel), wanted)
    assert kernel_of(np.zeros((6, 5, 3, 2)), (3, 2), "flat_chw").shape == (6, 3, 2, 5)
