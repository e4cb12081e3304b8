"""The step of which a few numbers are multiples, each of them rounded once."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.weights.common_step import MAX_MULTIPLE, integer_multiples


@pytest.mark.parametrize("step", [0.1, 0.0123, 1 / 3, 3.7e-5, 2.0**-7])
@pytest.mark.parametrize(
    "whole",
    [[-7, -3, 1, 2], [-8, -7, 0, 5, 6], [3, 7], [-1, 1], [0, 5], list(range(-128, 128))],
    ids=["gaps", "asymmetric", "no unit", "signs", "one", "eight bits"],
)
def test_multiples_of_a_float(step: float, whole: list[int]) -> None:
    """Every number is the float32 of the step's multiple, bit for bit."""
    exact = np.float32(step)
    values = np.float32(whole) * exact
    found = integer_multiples(values)
    assert found is not None
    unit, integers = found
    np.testing.assert_array_equal((integers * unit).astype(np.float32), values)
    ratio = integers[np.nonzero(whole)] / np.array(whole)[np.nonzero(whole)]
    assert len(set(ratio.tolist())) == 1


def test_differences_are_no_step() -> None:
    """7 steps minus 6 of a step of 1/3 is off by the rounding of 7."""
    values = np.float32([6, 7]) * np.float32(1 / 3)
    assert values[1] - values[0] != np.float32(1 / 3)
    found = integer_multiples(values)
    assert found is not None and found[1].tolist() == [6, 7]


@pytest.mark.parametrize(
    "values",
    [[1.0, np.sqrt(2)], [1.0, 1.0 + 2.0**-12], [0.0, 0.0], [1.0, MAX_MULTIPLE + 1.5]],
    ids=["no ratio", "too fine", "zeros", "too far"],
)
def test_what_has_none(values: list[float]) -> None:
    assert integer_multiples(np.float32(values)) is None


def test_zero_is_zero_steps_alone() -> None:
    found = integer_multiples(np.float32([0, 0.7, 0.3]))
    assert found is not None and found[1].tolist() == [0, 7, 3]
    np.testing.assert_allclose(found[0], 0.1, rtol=1e-6)
