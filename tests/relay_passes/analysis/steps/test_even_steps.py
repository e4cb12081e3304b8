"""Many thresholds counted by arithmetic: exact at each one and its neighbours, or not done."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.steps.even_steps import MANY, EvenSteps, even_steps

FLOATS = np.float32([-np.inf, -3e38, -1, -0.0, 0.0, 1e-45, 0.25, 1, 3e38, np.inf])


def counted(even: EvenSteps, thresholds: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The number of thresholds ``[N, C]`` that ``x [n, C]`` passes, as kernels count it."""
    first = even.passed_or_one_less(x.astype(np.float32))
    assert first.min() >= 0 and first.max() < len(thresholds)
    return first + (x >= np.take_along_axis(thresholds, first, 0))


def check(thresholds: np.ndarray) -> EvenSteps:
    even = even_steps(thresholds)
    assert even is not None
    flat = thresholds.reshape(-1)
    if np.issubdtype(thresholds.dtype, np.floating):  # infinity passes none of +inf: kernels
        thresholds = np.where(np.isposinf(thresholds), np.nan, thresholds)
    if np.issubdtype(thresholds.dtype, np.floating):
        flat = flat[np.isfinite(flat)]
        values = np.concatenate([FLOATS, flat, np.nextafter(flat, np.float32(-np.inf)),
                                 np.nextafter(flat, np.float32(np.inf))])  # fmt: skip
    else:
        flat = flat[np.abs(flat) < 2**24]
        values = np.concatenate([[-(2**24), 2**24], flat, flat - 1, flat + 1])
    for x in values:
        wanted = (x >= thresholds).sum(0)
        found = counted(even, thresholds, np.full((1, thresholds.shape[1]), x, thresholds.dtype))
        np.testing.assert_array_equal(found[0], wanted, err_msg=str(x))
    return even


@pytest.mark.parametrize("count", [MANY, 63, 255])
@pytest.mark.parametrize("scale", [1.0, 0.0137, 1e-30, 7e20])
def test_thresholds_of_a_quantizer(count: int, scale: float) -> None:
    """Halves between multiples of a scale, shifted and stretched by channel."""
    rng = np.random.default_rng(count)
    gain, shift = rng.uniform(0.01, 20, 9), rng.uniform(-3, 3, 9)
    halves = (np.arange(count)[:, None] + 0.5) * scale
    check(np.float32((halves - shift * scale) / gain))


@pytest.mark.parametrize("spacing", [1, 2, 2.37, 10, 1234.5])
def test_thresholds_of_integer_sums(spacing: float) -> None:
    starts = np.array([-(2**20), -100, 0, 3])
    check(np.ceil(starts + np.arange(255)[:, None] * spacing).astype(np.int32))


def test_thresholds_of_bit_patterns() -> None:
    """As a bisection finds them: one float from the line, here and there."""
    line = np.float32(np.arange(255)[:, None] / 3 + np.linspace(-9, 9, 5))
    rng = np.random.default_rng(0)
    up, down = (np.nextafter(line, np.float32(e)) for e in (np.inf, -np.inf))
    check(np.choose(rng.integers(0, 3, line.shape), [line, up, down]))


@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_some_are_never_passed_or_always(kind: str) -> None:
    far = np.inf if kind == "float32" else 2**30
    thresholds = np.repeat((np.arange(60.0) * 3)[:, None], 6, 1)
    thresholds[:7, 1] = -far
    thresholds[41:, 2] = far
    thresholds[:20, 3], thresholds[21:, 3] = -far, far
    thresholds[:, 4], thresholds[:, 5] = -far, far
    check(thresholds.astype(kind))


def test_a_value_that_is_no_number_stays_in_the_table() -> None:
    """Kernels compute in slots without a channel as well."""
    even = check(np.arange(30, dtype=np.float32)[:, None])
    found = even.passed_or_one_less(np.float32([[np.nan], [np.inf], [-np.inf]]))
    assert found.min() >= 0 and found.max() <= 29


UNEVEN = {
    "few": np.arange(MANY - 1.0),
    "squares": np.arange(60.0) ** 2,
    "equal": np.repeat(np.arange(30.0), 2),
    "two clusters": np.concatenate([np.arange(30.0), 1000 + np.arange(30.0)]),
    "closer than float32 tells": 1e8 + np.arange(0, 480, 8.0),
    "too large": np.linspace(-3e38, 3e38, 40),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_others_are_compared_one_by_one(name: str) -> None:
    thresholds = np.float32(np.stack([np.arange(len(UNEVEN[name])), UNEVEN[name]], 1))
    assert even_steps(np.sort(thresholds, 0)) is None
