"""What a step function means, and how it lies in an operator."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction, steps_of
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.relax_graph import image


def test_sense_mirrors_the_levels() -> None:
    steps = StepFunction(np.float32([[0, 0], [1, 1]]), np.int8([1, -1]), np.float32([-3, 0, 5]))
    x = np.float32([[-1, -1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(steps(x), [[-3, 5], [0, 0], [5, -3]])


@pytest.mark.parametrize(("levels", "rising"), [([-1, 0, 2], True), ([0, 0, 1], False)])
def test_rising_is_strict(levels: list[float], rising: bool) -> None:
    thresholds = np.zeros((2, 1), np.float32)
    assert StepFunction(thresholds, np.int8([1]), np.float32(levels)).rising == rising


def test_both_operators_hold_the_same_function() -> None:
    """``abc.count_step`` has the integers where ``abc.step`` has its thresholds."""
    thresholds, sense = np.float32([[0.25, 0.5]]), np.int8([1, -1])
    levels = np.float32([-1, 1])
    whole = np.int32([[3, 4]])
    x = image("x", 2)
    step = make("step", [x, *map(const, (thresholds, sense, levels))])
    count = make("count_step", [x, *map(const, (whole, sense, levels, thresholds))])
    for call in (step, count):
        steps = steps_of(call)
        np.testing.assert_array_equal(steps.thresholds, thresholds)
        np.testing.assert_array_equal(steps.sense, sense)
        np.testing.assert_array_equal(steps.levels, levels)
