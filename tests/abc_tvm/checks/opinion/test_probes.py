"""Probes: every threshold and its neighbours, or every reachable sum; images keep them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.opinion.probes import (
    ALL_SUMS,
    MOST_STEPS,
    Probes,
    float_probes,
    images,
    integer_probes,
)
from tests.abc_tvm.checks.opinion.test_steps import Steps

F32 = np.dtype(np.float32)


def steps(limits: Any, rising: Any = None) -> Any:
    array = np.float32(limits)
    return Steps(array, (), np.ones(array.shape[1], bool) if rising is None else np.array(rising))


def sums(bound: Any, offset: Any, step: int) -> IntegerSums:
    bound = np.array(bound)
    return IntegerSums(np.full(len(bound), 0.5, np.float32), bound, np.array(offset), step)


def test_every_threshold_and_its_neighbours(rng: np.random.Generator) -> None:
    limits = np.float32([[1, -3], [2, 0]])
    found = float_probes(steps(limits, [True, False]), [7.5], rng, F32)
    for channel in (0, 1):
        values = found.values[:, channel].tolist()
        for limit in limits[:, channel]:
            beside = [np.nextafter(limit, np.float32(way)) for way in (-np.inf, np.inf)]
            assert {float(limit), *map(float, beside)} <= set(values)
        assert {7.5, 0.0, 1.0, -1.0} <= set(values)
        assert max(values) > 2 and min(values) < -3
    assert np.any(np.signbit(found.values) & (found.values == 0)), "a negative zero"
    assert found.neutral[0] < limits.min() and found.neutral[1] > limits.max()


def test_thresholds_that_are_never_passed(rng: np.random.Generator) -> None:
    found = float_probes(steps([[np.inf], [-np.inf]]), [], rng, F32)
    assert np.isfinite(found.values).all()


def test_a_sample_of_very_many_thresholds(rng: np.random.Generator) -> None:
    count = MOST_STEPS // 64
    limits = np.repeat(np.arange(count, dtype=np.float32)[:, None], 128, 1)
    assert len(float_probes(steps(limits), [], rng, F32).values) < 3 * count


def test_all_sums_where_they_are_few(rng: np.random.Generator) -> None:
    found = integer_probes(steps([[0, 0]]), sums([3, 5], [1, 1], 2), rng)
    assert found.sums is not None and found.neutral_sums is not None
    assert sorted(set(found.sums[:, 0].tolist())) == [-3, -1, 1, 3]
    assert sorted(set(found.sums[:, 1].tolist())) == [-5, -3, -1, 1, 3, 5]
    np.testing.assert_array_equal(found.values, found.sums * np.float32(0.5))
    assert found.neutral_sums.tolist() == [-3, -5]


def test_those_about_the_thresholds_where_they_are_many(rng: np.random.Generator) -> None:
    form = sums([ALL_SUMS] * 2, [0, 0], 1)
    found = integer_probes(steps([[100.25, -7]]), form, rng)
    assert found.sums is not None and len(found.sums) < 100
    assert {198, 199, 200, 201, 202} <= set(found.sums[:, 0].tolist())
    assert {-15, -14, -13, ALL_SUMS, -ALL_SUMS, 0} <= set(found.sums[:, 1].tolist())


@pytest.mark.parametrize(("height", "width", "spacing"), [(1, 1, 1), (5, 4, 2), (3, 7, 3)])
def test_every_probe_stands_alone_once(
    height: int, width: int, spacing: int, rng: np.random.Generator
) -> None:
    values = np.arange(11, dtype=np.float32)[:, None] + 1
    made, none = images(Probes(values, np.float32([0])), height, width, spacing, rng, 2)
    assert none is None and made.shape[1:] == (height, width, 1)
    lone = made[:-2]
    assert set(lone[lone > 0].tolist()) == set(values[:, 0].tolist())
    places = np.argwhere(lone[..., 0] > 0)
    assert (places[:, 1:] % spacing == 0).all()
    assert (made[-2:] > 0).all(), "the dense ones have no neutral values"


def test_images_of_sums(rng: np.random.Generator) -> None:
    probes = Probes(np.float32([[1.0]]), np.float32([0]), np.array([[2]]), np.array([-2]))
    made, whole = images(probes, 3, 3, 2, rng, 0)
    assert whole is not None
    np.testing.assert_array_equal(whole, np.where(made > 0, 2, -2))
