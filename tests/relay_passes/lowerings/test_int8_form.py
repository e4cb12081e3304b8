"""Bytes reproduce the weights and levels; rounding stays within its bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.relay_passes.lowerings.int8_form import LARGEST, int8_form, rounded
from abc_tvm.schedules.family import CodeType

CODES: list[CodeType] = ["uint8", "int8"]


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, -1, 1).astype(np.int8)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "levels", [[-1, 1], [0, 1], [-1.5, -0.5, 0.5, 1.5], [0.25, 0.5, 1], [-0.3, -0.1]]
)
@pytest.mark.parametrize(
    "alpha", [[[1, 1, 1]], [[0.3, 2, 0]], [[1, 0.5, 3], [0.5, 0.25, -1]], [[4, 4, 4], [1, 1, 1]]]
)
def test_the_integers_give_the_convolution_back(
    alpha: Any, levels: list[float], code: CodeType, rng: np.random.Generator
) -> None:
    scales, grid = np.float32(alpha), np.float32(levels)
    planes = signs(rng, *scales.shape, 2, 3, 5)
    found = int8_form(planes, scales, grid, code)
    assert found is not None
    assert found.weights.dtype == np.int8 and found.zero in range(*_range(code))
    index = rng.integers(0, len(levels), (40, 2, 3, 5))
    inside = rng.random(index.shape) < 0.7  # elsewhere it is padded
    codes = np.where(inside, np.array(found.codes)[index], found.zero)
    assert codes.min() >= _range(code)[0] and codes.max() < _range(code)[1]
    inputs = np.where(inside, grid[index].astype(np.float64), 0)
    weights = np.einsum("mo,mohwi->ohwi", scales.astype(np.float64), planes)
    wanted = np.einsum("bhwi,ohwi->bo", inputs, weights)
    sums = np.einsum("bhwi,ohwi->bo", codes - found.zero, found.weights.astype(np.int64))
    assert np.all(np.abs(sums) <= found.bound)
    np.testing.assert_allclose(sums * found.scale.astype(np.float64), wanted, atol=2e-5)


def _range(code: CodeType) -> tuple[int, int]:
    return (0, 256) if code == "uint8" else (-128, 128)


@pytest.mark.parametrize(
    ("alpha", "levels", "code"),
    [
        ([[1], [0.613]], [-1, 1], "uint8"),
        ([[1]], [0, 1, 2.7182817], "uint8"),
        ([[1]], [-100, 1, 156], "uint8"),
        ([[1]], [1, 200], "int8"),
    ],
    ids=["scales", "levels", "256 steps between levels", "level of 200"],
)
def test_refuses(alpha: Any, levels: list[float], code: CodeType) -> None:
    scales = np.float32(alpha)
    planes = np.ones((*scales.shape, 1, 1, 4), np.int8)
    assert int8_form(planes, scales, np.float32(levels), code) is None


def test_weights_beyond_a_byte_are_refused() -> None:
    planes = np.ones((2, 1, 1, 1, 4), np.int8)
    alpha = np.float32([[127], [2]])
    assert int8_form(planes, alpha, np.float32([-1, 1]), "uint8") is None
    planes[1] = -1
    assert int8_form(planes, alpha, np.float32([-1, 1]), "uint8") is not None


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 3), (5, 5), (8, 7)])
def test_rounding_stays_within_its_bound(
    M: int, N: int, code: CodeType, rng: np.random.Generator
) -> None:
    """Measured on random inputs, and on the worst input of each channel."""
    planes = signs(rng, M, 6, 3, 3, 4)
    alpha = rng.uniform(0.05, 1, (M, 6)).astype(np.float32)
    alpha[:, 5] = 0
    levels = np.sort(rng.normal(size=N + 1)).astype(np.float32)
    near = rounded(planes, alpha, levels, code)
    assert int8_form(planes, near.alpha, near.levels, code) is not None
    assert near.error < 0.1
    wide = np.einsum("mo,mohwi->ohwi", alpha.astype(np.float64), planes)
    moved = np.einsum("mo,mohwi->ohwi", near.alpha.astype(np.float64), planes)
    index = rng.integers(0, N + 1, (300, *wide.shape[1:]))
    plain, coded = (
        np.einsum("bhwi,ohwi->bo", v[index].astype(np.float64), w)
        for v, w in ((levels, wide), (near.levels, moved))
    )
    most = np.abs(wide).sum((1, 2, 3)) * np.abs(levels).max()
    assert np.all(np.abs(plain - coded) <= near.error * most * (1 + 1e-6))
    products = wide[..., None] * levels - moved[..., None] * near.levels
    worst = np.abs(products).max(-1).sum((1, 2, 3))
    assert np.all(worst <= near.error * most * (1 + 1e-6))


def test_what_needs_no_rounding_is_left_alone(rng: np.random.Generator) -> None:
    planes = signs(rng, 2, 4, 1, 1, 9)
    alpha = np.repeat(np.float32([[3], [1]]), 4, 1)
    near = rounded(planes, alpha, np.float32([-1, 0, 1]), "uint8")
    assert near.error < 1e-6
    np.testing.assert_allclose(near.alpha, alpha, rtol=1e-6)


@pytest.mark.parametrize("code", CODES)
def test_levels_that_are_all_zero_have_no_form(code: CodeType, rng: np.random.Generator) -> None:
    planes, alpha = signs(rng, 2, 3, 1, 1, 4), np.ones((2, 3), np.float32)
    levels = np.zeros(2, np.float32)
    near = rounded(planes, alpha, levels, code)
    assert near.error == 0 and int8_form(planes, near.alpha, near.levels, code) is None


@pytest.mark.parametrize("code", CODES)
def test_scales_use_the_finest_unit_that_fits(code: CodeType, rng: np.random.Generator) -> None:
    """Of all steps that hold the scales, none is nearer: tried one by one."""
    column = rng.uniform(0.1, 1, 4).astype(np.float32)
    planes = signs(rng, 4, 1, 1, 1, 8)
    near = rounded(planes, column[:, None], np.float32([-1, 1]), code).alpha[:, 0]
    total = float(column.astype(np.float64).sum())
    tried = []
    for k in range(1, LARGEST + 1):
        whole = np.rint(column / (total / k))
        if np.abs(whole).sum() <= LARGEST:
            tried.append(np.abs(whole * total / k - column).sum())
    np.testing.assert_allclose(np.abs(near - column).sum(), min(tried), rtol=0, atol=1e-6)
