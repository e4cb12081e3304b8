"""Levels that sums of integers take, against all sums that there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.steps.reachable_levels import reachable_steps
from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator


def accumulator(bound: int, even: bool, channels: int) -> Accumulator:
    """``D`` from ``-bound`` to ``bound``, of the parity of ``bound`` where ``even``."""
    ones = np.ones((1, channels), np.int64)
    return Accumulator(
        np.ones(channels, np.float32), ones, np.array([-1, 1]), bound * ones[0], even
    )


def sums(exact: Accumulator) -> np.ndarray:
    bound = int(exact.bound[0])
    return np.arange(-bound, bound + 1, 2 if exact.even else 1)


@pytest.mark.parametrize(("bound", "kept"), [(9, 2), (8, 3)])
def test_a_tie_at_zero_is_met_by_even_sums_alone(bound: int, kept: int) -> None:
    """``sign(D)``: no sum of nine ±1 is 0."""
    above = np.nextafter(np.float32(0), np.float32(1))
    steps = StepFunction(np.float32([[0], [above]]), np.int8([1]), np.float32([-1, 0, 1]))
    assert len(reachable_steps(steps, accumulator(bound, True, 1)).levels) == kept


@given(
    st.lists(st.integers(-12, 12), min_size=2, max_size=4),
    st.integers(1, 10),
    st.booleans(),
    st.lists(st.sampled_from([-1, 1]), min_size=1, max_size=3),
)
def test_the_same_function_of_every_sum(
    at: list[int], bound: int, even: bool, sense: list[int]
) -> None:
    thresholds = np.repeat(np.sort(np.float32(at))[:, None], len(sense), 1)
    levels = np.arange(len(at) + 1, dtype=np.float32)
    steps = StepFunction(thresholds, np.int8(sense), levels)
    exact = accumulator(bound, even, len(sense))
    fewer = reachable_steps(steps, exact)
    values = exact.value(np.repeat(sums(exact)[:, None], len(sense), 1))
    np.testing.assert_array_equal(fewer(values), steps(values))
    assert set(fewer.levels) <= set(levels) and len(fewer.thresholds) >= 1
