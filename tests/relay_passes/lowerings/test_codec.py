"""Bits and codes are decoded to the levels that they were made of."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.compute.int8_products import code_slots
from abc_tvm.relay_passes.analysis.weights.planes_code import best_code, thermometer
from abc_tvm.relay_passes.lowerings.codec import ByteCodec, Codec, level_scale, patterns
from tests.schedules.window_cases import pack

CASES = [(1, 1), (31, 1), (32, 1), (33, 1), (6, 2), (66, 2)]


def packed(bits: np.ndarray, groups: int) -> np.ndarray:
    """Bits ``[B, H, W, C, P]`` as kernels read them, by NumPy."""
    planes = np.moveaxis(bits, -1, 3)
    return pack(planes.reshape(*planes.shape[:4], groups, -1))


@pytest.mark.parametrize(("channels", "groups"), CASES)
@pytest.mark.parametrize("levels", [[-1, 1], [0, 0.25, 4], [-1.5, -0.5, 0.5, 1.5]])
@pytest.mark.parametrize("form", [best_code, thermometer])
def test_bits_give_index_and_levels_back(
    channels: int, groups: int, levels: list[float], form: object, rng: np.random.Generator
) -> None:
    grid = np.float32(levels)
    code = best_code(grid) if form is best_code else thermometer(grid)
    table = patterns(code.kind, code.planes)
    index = rng.integers(0, len(levels), (2, 3, 2, channels))
    codec = Codec(channels, groups, code.base, np.array(code.weights), table)
    words = packed(table[index], groups)
    np.testing.assert_array_equal(codec.unpack(words), table[index])
    np.testing.assert_array_equal(codec.index(words), index)
    np.testing.assert_array_equal(codec.levels(codec.unpack(words)), grid[index])


@pytest.mark.parametrize(
    ("code", "planes", "wanted"),
    [
        ("thermometer", 1, [[0], [1]]),
        ("thermometer", 3, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]),
        ("binary", 1, [[0], [1]]),
        ("binary", 2, [[0, 0], [1, 0], [0, 1], [1, 1]]),
    ],
)
def test_patterns(code: str, planes: int, wanted: list[list[int]]) -> None:
    found = patterns(code, planes)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("channels", "groups"), CASES)
@pytest.mark.parametrize(
    ("codes", "dtype"), [((0, 1, 3, 255), "uint8"), ((-128, -1, 0, 127), "int8"), ((7, 9), "int8")]
)
def test_bytes_give_the_index_back(
    channels: int, groups: int, codes: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    group = channels // groups
    index = rng.integers(0, len(codes), (2, 3, 2, channels))
    # Slots past the last channel hold anything.
    data = rng.integers(-128, 128, (2, 3, 2, groups, code_slots(group))).astype(dtype)
    data[..., :group] = np.array(codes)[index].reshape(2, 3, 2, groups, group)
    levels = np.array(codes) - 2.0
    table = patterns("thermometer", len(codes) - 1)
    codec = ByteCodec(channels, groups, levels[0], np.diff(levels), table, codes)
    np.testing.assert_array_equal(codec.index(data), index)
    np.testing.assert_array_equal(codec.levels(table), levels)


def test_a_factor_between_levels_and_weights(rng: np.random.Generator) -> None:
    plain = rng.normal(size=(3, 2, 2, 5)).astype(np.float32)
    wide = plain.astype(np.float64)
    for factor in (1.0, 0.25, 3.7, -2.0):
        assert level_scale(factor * wide, plain) == pytest.approx(factor, rel=1e-12)


def test_weights_that_are_no_multiple_have_no_factor(rng: np.random.Generator) -> None:
    plain = rng.normal(size=(3, 2, 2, 5)).astype(np.float32)
    coded = 2 * plain.astype(np.float64)
    coded[0, 0, 0, 0] += 0.01 * np.abs(coded).max()
    assert level_scale(coded, plain) == 1
    assert level_scale(coded, plain, tolerance=0.02) == pytest.approx(2, rel=0.01)
    assert level_scale(0 * coded, plain) == 1, "weights that are all 0"
    assert level_scale(coded, 0 * plain) == 1
