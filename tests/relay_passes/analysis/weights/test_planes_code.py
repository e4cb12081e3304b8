"""Codes of step-function indices: every index gives its level back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.weights.planes_code import Code, best_code, thermometer

LEVELS = st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=9, unique=True)


def bits_of(code: Code, count: int) -> np.ndarray:
    """``[count + 1, planes]`` bits of every index."""
    index = np.arange(count + 1)[:, None]
    if code.kind == "binary":
        return (index >> np.arange(code.planes)) & 1
    return (index > np.arange(code.planes)).astype(int)


def decoded(code: Code, count: int) -> np.ndarray:
    return code.base + bits_of(code, count) @ np.array(code.weights)


@given(LEVELS)
def test_thermometer_gives_the_levels_in_any_order(values: list[float]) -> None:
    levels = np.float32(values)
    code = thermometer(levels)
    assert code.kind == "thermometer" and code.planes == len(levels) - 1
    np.testing.assert_allclose(decoded(code, code.planes), levels, atol=1e-12)


@given(LEVELS)
def test_best_code_gives_the_levels(values: list[float]) -> None:
    levels = np.sort(np.float32(values))
    code = best_code(levels)
    scale = np.abs(levels).max()
    np.testing.assert_allclose(decoded(code, len(levels) - 1), levels, atol=2.0**-20 * scale)


@pytest.mark.parametrize(
    ("count", "kind", "planes"),
    [
        (1, "thermometer", 1),
        (2, "thermometer", 2),
        (3, "binary", 2),
        (4, "binary", 3),
        (7, "binary", 3),
        (8, "binary", 4),
        (15, "binary", 4),
        (255, "binary", 8),
    ],
)
def test_uniform_levels_take_log2_planes(count: int, kind: str, planes: int) -> None:
    levels = np.arange(count + 1, dtype=np.float32) * np.float32(0.3) - np.float32(0.7)
    code = best_code(levels)
    assert (code.kind, code.planes) == (kind, planes)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rounded_steps_of_a_k_bit_network_are_uniform(bits: int) -> None:
    """``i / (2**k - 1)`` rounded to float32 is no exact grid; 2**-22 of the largest level is."""
    levels = (np.arange(2**bits, dtype=np.float32) / np.float32(2**bits - 1)).astype(np.float32)
    assert best_code(levels).planes == bits


def test_uneven_levels_stay_thermometer() -> None:
    assert best_code(np.float32([0, 1, 2, 3.001])).kind == "thermometer"


def test_falling_uniform_levels_have_negative_weights() -> None:
    code = best_code(np.float32([3, 2, 1, 0]))
    assert code == Code("binary", 3.0, (-1.0, -2.0))


def test_two_levels_are_one_plane() -> None:
    assert best_code(np.float32([-1, 1])) == Code("thermometer", -1.0, (2.0,))
