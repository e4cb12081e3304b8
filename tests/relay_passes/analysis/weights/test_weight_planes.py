"""Recovered planes, put together again, are the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.reference import solve_alpha, weight_bases
from abc_tvm.relay_passes.analysis.weights.weight_planes import (
    NotPlanes,
    WeightPlanes,
    factor,
    has_planes,
)

SHAPE = (6, 3, 3, 8)


def rebuilt(found: WeightPlanes) -> np.ndarray:
    return np.einsum("mo...,mo->o...", found.planes.astype(np.float64), found.alpha)


def assert_factored(weight: np.ndarray, M: int | None = None) -> WeightPlanes:
    assert has_planes(weight)
    found = factor(weight)
    assert found.planes.dtype == np.int8 and set(np.unique(found.planes)) <= {-1, 1}
    assert found.planes.shape == (len(found.alpha), *weight.shape)
    assert found.alpha.shape[1] == len(weight) and found.alpha.dtype == np.float32
    scale = np.abs(weight).max()
    np.testing.assert_allclose(rebuilt(found), weight, atol=2.0**-17 * scale)
    if M is not None:
        assert len(found.planes) == M
    return found


def planes(M: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((M, *SHAPE)) < 0.5, -1.0, 1.0)


@given(
    st.lists(st.floats(0.125, 2, width=32), min_size=1, max_size=4, unique=True),
    st.integers(0, 5),
)
def test_random_sums_of_bases(alpha: list[float], seed: int) -> None:
    weight = np.tensordot(np.float64(alpha), planes(len(alpha), seed), 1).astype(np.float32)
    sizes = np.abs(weight[weight != 0])
    if sizes.size and sizes.min() * 2.0**11 < sum(alpha):  # sums that cancel but for their rounding
        return
    found = factor(weight)
    scale = np.abs(weight).max()
    np.testing.assert_allclose(rebuilt(found), weight, atol=2.0**-17 * scale)
    assert len(found.planes) <= 2 ** len(alpha)


@pytest.mark.parametrize("alpha", [[1], [0.7, 0.2], [0.9, 0.41, 0.17], [1.1, 0.53, 0.29, 0.13]])
@pytest.mark.parametrize("sign", [1, -1])
def test_independent_bases_are_found_again(alpha: list[float], sign: int) -> None:
    weight = np.tensordot(sign * np.float64(alpha), planes(len(alpha)), 1)
    found = assert_factored(weight.astype(np.float32), len(alpha))
    assert found.per_layer
    np.testing.assert_allclose(np.sort(found.alpha[:, 0])[::-1], alpha, rtol=1e-6)


@pytest.mark.parametrize("M", [1, 2, 3, 4, 5])
def test_the_papers_bases(M: int) -> None:
    weight = np.random.default_rng(M).normal(size=SHAPE)
    bases = weight_bases(weight, M)
    whole = np.tensordot(solve_alpha(weight, bases), bases, 1)
    assert_factored(whole.astype(np.float32), M)


@pytest.mark.parametrize("M", [1, 2, 3])
def test_scales_per_channel(M: int) -> None:
    weight = np.random.default_rng(M).normal(size=SHAPE)
    bases = weight_bases(weight, M)
    alpha = solve_alpha(weight, bases, per_channel=True)
    whole = np.einsum("mo...,mo->o...", bases, alpha)
    found = assert_factored(whole.astype(np.float32), M)
    assert not found.per_layer


@pytest.mark.parametrize(("bits", "M"), [(1, 1), (2, 2), (3, 3), (4, 4)])
def test_k_bit_grids(bits: int, M: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 2**bits, SHAPE)
    assert_factored((2 * codes / (2**bits - 1) - 1).astype(np.float32), M)


@pytest.mark.parametrize(
    ("values", "M"),
    [([-1, 0, 1], 2), ([0, 1], 2), ([0, 0.5, 1, 1.5], 3), ([-2, -1, 0, 1], 3), ([-3, 0.1, 2.2], 3)],
)
def test_other_few_values(values: list[float], M: int) -> None:
    weight = np.random.default_rng(0).choice(np.float32(values), SHAPE)
    assert_factored(weight, M)


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5])
def test_constant_weights(value: float) -> None:
    assert_factored(np.full(SHAPE, value, np.float32))


def test_a_channel_of_zeros_beside_binary_ones() -> None:
    weight = planes(1)[0].astype(np.float32)
    weight[2] = 0
    assert_factored(weight)


def test_rounding_noise_is_joined() -> None:
    weight = np.tensordot(np.float64([0.7, 0.2]), planes(2), 1).astype(np.float32)
    noisy = np.nextafter(weight, np.float32(np.inf))
    mixed = np.where(np.random.default_rng(0).random(SHAPE) < 0.5, weight, noisy)
    assert_factored(mixed.astype(np.float32), 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad: float) -> None:
    weight = planes(1)[0].astype(np.float32)
    weight[0, 0, 0, 0] = bad
    assert not has_planes(weight)
    with pytest.raises(NotPlanes, match="NaN or infinity"):
        factor(weight)


def test_refuses_float_weights() -> None:
    weight = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    assert not has_planes(weight)
    with pytest.raises(NotPlanes, match="more than 16 values in one output channel"):
        factor(weight)


@pytest.mark.parametrize(
    ("low", "high", "count"),
    [(-9, 9, 6), (-16, 16, 6), (-17, 17, 7), (-31, 31, 7), (-127, 127, 9), (-128, 127, 9),
     (-128, 128, 9)],
)  # fmt: skip
def test_multiples_of_a_step_for_each_channel(low: int, high: int, count: int) -> None:
    """Weights of up to eight bits, whatever their scales."""
    rng = np.random.default_rng(high)
    whole = rng.integers(low, high + 1, (6, 3, 3, 40))
    whole[:, 0, 0, :2] = low, high
    whole[4] = 0
    whole[5] = np.sign(whole[5])
    for steps in (np.ones(6), rng.uniform(1e-3, 5, 6)):
        weight = (whole * np.float32(steps)[:, None, None, None]).astype(np.float32)
        found = factor(weight)
        assert len(found.planes) == count and not has_planes(weight)
        assert worst(found, weight) <= 2.0**-22
        combined = (
            rebuilt(found)
            / np.where(np.abs(found.alpha).max(0) > 0, found.alpha[0] * 2, 1)[:, None, None, None]
        )
        np.testing.assert_allclose(combined, whole, atol=1e-4)


@pytest.mark.parametrize("numbers", [[*range(-129, 130)], [0, *(2**k for k in range(20))]])
def test_no_multiples_of_eight_bits(numbers: list[int]) -> None:
    weight = np.resize(np.float32(numbers), (2, 1, 1, 2 * len(numbers)))
    with pytest.raises(NotPlanes, match="more than 16 values"):
        factor(weight)


def test_refuses_float_weights_in_one_channel() -> None:
    weight = planes(1)[0].astype(np.float32)
    weight[2] = np.random.default_rng(0).normal(size=SHAPE[1:])
    assert not has_planes(weight)
    with pytest.raises(NotPlanes, match="more than 16 values in one output channel"):
        factor(weight)


def worst(found: WeightPlanes, weight: np.ndarray) -> float:
    """Largest error of a weight, relative to itself."""
    there = weight != 0
    return float((np.abs(rebuilt(found) - weight)[there] / np.abs(weight[there])).max())


@pytest.mark.parametrize("large", [1e3, 1e5, 1e8, 1e30])
def test_weights_of_different_size_in_channels_keep_their_values(large: float) -> None:
    """1e8 in one channel, 0.45 and 0.4500001 in others: a rounding of the first is no value."""
    weight = planes(1)[0].astype(np.float32) * np.float32(0.45)
    weight[0] *= np.float32(large)
    weight[1] *= np.float32(1.0000005)
    weight[2] = np.where(weight[2] > 0, weight[2], 0)
    found = factor(weight)
    assert worst(found, weight) < 2.0**-21
    assert np.all(rebuilt(found)[weight == 0] == 0)


@pytest.mark.parametrize("values", [(1e8, 0.45), (1e8, 0.45, -0.45), (1e5, 0.5, -1e5), (65536, 1)])
def test_weights_of_different_size_in_one_channel_are_refused(values: tuple[float, ...]) -> None:
    """Sums of scales of 1e8 hold no 0.45, and the layer keeps its floats."""
    weight = planes(1)[0].astype(np.float32)
    weight[3] = np.random.default_rng(0).choice(np.float32(values), SHAPE[1:])
    with pytest.raises(NotPlanes, match="too different in size"):
        factor(weight)


@pytest.mark.parametrize("off", [2.0**-12, -(2.0**-15)])
def test_a_grid_is_one_only_within_rounding(off: float) -> None:
    """A weight that is a little off the grid keeps its own value."""
    grid = np.float32([-1.5, -0.5, 0.5, 1.5]) * np.float32([1, 1, 1 + off, 1])
    weight = np.random.default_rng(0).choice(grid, SHAPE)
    assert worst(factor(weight), weight) < 2.0**-21


def test_what_is_almost_zero_is_not_zero() -> None:
    weight = np.random.default_rng(0).choice(np.float32([-1, 1e-9, 1]), SHAPE)
    with pytest.raises(NotPlanes, match="too different in size"):
        factor(weight)


def splits(weight: np.ndarray) -> bool:
    try:
        factor(weight)
    except NotPlanes:
        return False
    return True


SIZES = (0.0, 1.0, -1.0, 0.45, 1e-9, 3.0, 1e5, -65536.0, 1e8, 1e30, 3e38, 1e-40)


@given(st.lists(st.sampled_from(SIZES), min_size=1, max_size=6), st.integers(0, 5), st.booleans())
def test_has_planes_says_what_factor_does(values: list[float], seed: int, one: bool) -> None:
    """Whatever the spread: in all channels, or in one beside channels of +-1."""
    weight = planes(1, seed)[0].astype(np.float32)
    place = slice(3, 4) if one else slice(None)
    shape = weight[place].shape
    weight[place] = np.random.default_rng(seed).choice(np.float32(values), shape)
    assert has_planes(weight) == splits(weight)


@pytest.mark.parametrize("values", [(1e8, 0.45), (1e5, 0.5, -1e5), (65536, 1)])
def test_has_planes_knows_the_largest_spread(values: tuple[float, ...]) -> None:
    weight = np.random.default_rng(0).choice(np.float32(values), SHAPE)
    assert not has_planes(weight)
