"""Two numbers are one only within the rounding of themselves, or of what they were summed from."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.rounding import LARGE, NORMAL, in_range, is_same
from abc_tvm.relay_passes.analysis.weights.common_step import integer_multiples
from abc_tvm.relay_passes.analysis.weights.planes_code import best_code


def test_a_small_number_keeps_itself_beside_a_large_one() -> None:
    wanted = np.array([1e8, 0.45, 0.0])
    assert is_same(wanted, wanted, 1e8).all()
    assert list(is_same(np.array([1e8 + 8, 0.4501, 0.1]), wanted, 1e8)) == [True, False, False]
    assert not is_same(np.array([1e8, 0.0, 0.0]), wanted, 1e8)[1]


def test_rounding_of_terms_is_granted() -> None:
    """2 k / 15 - 1 as float32: the small ones carry the rounding of 1."""
    k = np.arange(16)
    levels = (2 * k / np.float32(15)).astype(np.float32) - np.float32(1)
    found = integer_multiples(levels)
    assert found is not None and list(found[1]) == list(2 * k - 15)


@pytest.mark.parametrize(
    "values", [(256, 1.0001), (1, 1e-9), (100, 1.001, -100), (1e8, 0.45), (255, 254.99)]
)
def test_no_integer_multiples_of_what_is_none(values: tuple[float, ...]) -> None:
    found = integer_multiples(np.float32(values))
    if found is not None:
        unit, whole = found
        np.testing.assert_allclose(unit * whole, np.float32(values), rtol=2.0**-14)


def test_levels_that_are_not_even_get_a_plane_each() -> None:
    assert best_code(np.float32([-1, 0, 1, 2])).kind == "binary"
    assert best_code(np.float32([-1, 1e-6, 1, 2])).kind == "thermometer"


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (0.0, True),
        (1.0, True),
        (-LARGE, True),
        (1 / LARGE, True),
        (1.01 * LARGE, False),
        (1e-40, True),
        (1e39, False),
        (np.inf, False),
        (np.nan, False),
    ],
)
def test_in_range(value: float, holds: bool) -> None:
    assert in_range(np.array([1.0, value])) == holds


def test_in_range_with_a_least_size() -> None:
    assert in_range(np.array([0.0, -NORMAL, 1.0]), NORMAL)
    assert not in_range(np.array([0.0, NORMAL / 2, 1.0]), NORMAL)
