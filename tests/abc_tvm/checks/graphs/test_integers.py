"""Numbers as multiples of one, and the sums that a layer of such can reach, by trying them all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from abc_tvm.checks.graphs.integers import MOST_UNITS, sums_of, unit_of


@pytest.mark.parametrize(
    ("values", "whole"),
    [([-1.5, 0.5, 2.0], [-3, 1, 4]), ([0.0, 0.3], [0, 1]), ([31 / 18, 5 / 18], [31, 5])],
)
def test_integer_multiples(values: list[float], whole: list[int]) -> None:
    found = unit_of(np.array(values, np.float32))
    assert found is not None
    assert found[1].tolist() == whole


def test_numbers_without_a_unit() -> None:
    assert unit_of(np.array([1.0, np.pi, np.e])) is None
    assert unit_of(np.zeros(3)) is None
    assert unit_of(np.zeros(0)) is None


@pytest.mark.parametrize("count", [MOST_UNITS - 1, MOST_UNITS, MOST_UNITS + 1])
def test_as_many_units_as_are_no_accident(count: int) -> None:
    found = unit_of(np.array([1.0, count]))
    assert (found is not None) == (count <= MOST_UNITS)


def test_one_number() -> None:
    unit, whole = unit_of(np.array([-0.3])) or (0.0, np.zeros(0))
    assert unit == 0.3 and whole.tolist() == [-1]


def every_sum(planes: np.ndarray, alpha: np.ndarray, levels: np.ndarray, pad: bool) -> np.ndarray:
    """All sums of a layer of one output channel, sorted."""
    weights = (alpha[:, 0, None] * planes[:, 0]).sum(0)
    takes = [*levels, 0.0] if pad else levels
    return np.unique([np.dot(weights, x) for x in itertools.product(takes, repeat=len(weights))])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("levels", [[-1, 1], [0, 1], [-0.5, 0.5], [0, 0.25, 0.5, 0.75]])
@pytest.mark.parametrize("alpha", [[0.5], [0.75, 0.25]])
def test_every_sum_is_reachable(alpha: list[float], levels: list[float], padded: bool) -> None:
    planes = np.array([[[1, -1, 1]], [[1, 1, -1]]])[: len(alpha)]
    scales, values = np.float32(alpha)[:, None], np.array(levels)
    form = sums_of(planes, scales, values, padded)
    assert form is not None
    true = every_sum(planes, scales, values, padded)
    counts = np.rint(true / form.scale[0]).astype(np.int64)[:, None]
    np.testing.assert_array_equal(form.value(counts)[:, 0], true.astype(np.float32))
    np.testing.assert_array_equal(form.reachable(counts), counts)
    assert np.abs(counts).max() <= form.bound[0]


def test_sums_that_are_not_reached() -> None:
    """Three products of ±1 are odd."""
    form = sums_of(np.ones((1, 1, 3), np.int8), np.ones((1, 1)), np.array([-1.0, 1]), False)
    assert form is not None
    wanted = [[-3], [-3], [-1], [1], [3], [3]]
    assert form.reachable(np.array([[-9], [-3], [0], [1], [3], [9]])).tolist() == wanted


def test_layers_without_a_form() -> None:
    one = np.ones((1, 1, 3), np.int8)
    assert sums_of(one, np.ones((1, 1)), np.array([0.0, 0.0]), False) is None
    assert sums_of(one, np.ones((1, 1)), np.array([1.0, np.pi, np.e]), False) is None
    bases = np.ones((3, 1, 3), np.int8)
    assert sums_of(bases, np.array([[1.0], [np.pi], [np.e]]), np.array([-1.0, 1]), False) is None
    many = np.ones((1, 1, 2**17), np.int8)
    assert sums_of(many, np.ones((1, 1)), np.array([0.0, 128, 129]), False) is None, "beyond 2**24"


def test_a_channel_of_zeros_sums_to_zero() -> None:
    form = sums_of(np.ones((1, 2, 3), np.int8), np.array([[0.0, 1]]), np.array([-1.0, 1]), True)
    assert form is not None
    assert form.bound.tolist() == [0, 3] and form.scale[0] == 0
