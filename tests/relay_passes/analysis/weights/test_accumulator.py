"""E2, exhaustively: integer thresholds at every reachable accumulator value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.pointwise import TABLE, Bounds
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps
from abc_tvm.relay_passes.analysis.weights.accumulator import (
    Accumulator,
    accumulator,
)
from abc_tvm.relay_passes.analysis.weights.common_step import integer_multiples

SIGNS = np.float32([-1, 1])


def signs(*shape: int) -> np.ndarray:
    return np.where(np.random.default_rng(0).random(shape) < 0.5, -1, 1).astype(np.int8)


def exact(alpha: np.ndarray, levels: np.ndarray, taps: int, padded: bool) -> Accumulator:
    planes = signs(*alpha.shape, 1, 1, taps)
    found = accumulator(planes, alpha.astype(np.float32), levels, padded)
    assert found is not None
    return found


def every_count(found: Accumulator, channels: int) -> np.ndarray:
    """``[K, C]`` every reachable ``D`` (of the channel's parity where there is one)."""
    bound = int(found.bound.max())
    count = np.arange(-bound, bound + 1, 2 if found.even else 1)
    return np.repeat(count[:, None], channels, 1)


@given(
    st.integers(1, 40),
    st.booleans(),
    st.lists(
        st.tuples(
            st.floats(0.0078125, 2, width=32),
            st.floats(-4, 4, width=32),
            st.floats(-40, 40, width=32),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_every_accumulator_gives_the_chains_bit(
    taps: int, padded: bool, rows: list[tuple[float, float, float]]
) -> None:
    """``Sign(gamma * (alpha * D) + beta)`` in float32 against ``D >= T``, for all D."""
    alpha, gamma, beta = np.float32(rows).T
    channels = len(alpha)
    found = exact(alpha[None], SIGNS, taps, padded)

    def chain(x: Bounds) -> Bounds:
        y = TABLE["multiply"].bounds(x, (gamma, gamma))
        return TABLE["sign"].bounds(TABLE["add"].bounds(y, (beta, beta)))

    steps = find_steps(chain, channels)
    whole = np.stack([found.threshold(t) for t in steps.thresholds])
    count = every_count(found, channels)
    value = count.astype(np.float32) * alpha
    with np.errstate(all="ignore"):
        wanted = np.sign(value * gamma + beta)
    passed = (count[:, None] >= whole[None]).sum(1)
    n = len(steps.thresholds)
    index = np.where(steps.sense > 0, passed, n - passed)
    np.testing.assert_array_equal(steps.levels[index], wanted)


@pytest.mark.parametrize("t", [-np.inf, np.inf, -1e30, 1e30, 0.0, -0.0])
def test_thresholds_out_of_reach_are_clipped(t: float) -> None:
    found = exact(np.float32([[0.3, 2]]), SIGNS, 9, False)
    whole = found.threshold(np.float32([t, t]))
    count = every_count(found, 2)
    np.testing.assert_array_equal(count >= whole, found.value(count) >= np.float32(t))
    assert np.all(np.abs(whole) <= found.bound + 1)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "levels", [[-1, 1], [-0.5, 0.5], [0, 1], [0, 1 / 3, 2 / 3, 1], [-1, 0, 1], [-0.75, 0.25]]
)
@pytest.mark.parametrize("alpha", [[1], [0.3], [0.25, 0.5], [0.1, 0.2, 0.4]])
def test_the_bound_and_the_parity_hold(
    alpha: list[float], levels: list[float], padded: bool
) -> None:
    """Random inputs never leave ``|D| <= bound``, and have its parity where ``even`` says so."""
    rng = np.random.default_rng(2)
    grid = np.float32(levels)
    column = np.repeat(np.float32(alpha)[:, None], 3, 1)
    planes = signs(len(alpha), 3, 1, 1, 7)
    found = accumulator(planes, column, grid, padded)
    assert found is not None
    inputs = rng.choice(grid, (200, 7)) * (rng.random((200, 7)) < (0.8 if padded else 2))
    weight = (column[:, :, None] * planes[:, :, 0, 0]).sum(0)
    value = inputs @ weight.T
    count = np.rint(value / found.scale).astype(np.int64)
    np.testing.assert_allclose(count * found.scale, value, atol=1e-5)
    assert np.all(np.abs(count) <= found.bound)
    if found.even:
        assert not padded and np.all((count - found.bound) % 2 == 0)


def test_parity_is_known_for_one_plane_of_odd_levels_without_padding() -> None:
    assert exact(np.float32([[1]]), SIGNS, 9, False).even
    assert not exact(np.float32([[1]]), SIGNS, 9, True).even
    assert not exact(np.float32([[1]]), np.float32([0, 1]), 9, False).even


@given(
    st.lists(st.integers(-60, 60), min_size=1, max_size=6).filter(any),
    st.floats(0.015625, 50, width=32),
)
def test_integer_multiples_give_the_values_back(whole: list[int], unit: float) -> None:
    values = np.float32(whole) * np.float32(unit)
    found = integer_multiples(values)
    if found is not None:
        error = np.abs(found[0] * found[1] - values).max()
        assert error <= 2.0**-20 * np.abs(values).max()


@pytest.mark.parametrize(
    ("alpha", "levels"),
    [
        (np.float32([[1.0], [0.613]]), SIGNS),
        (np.float32([[1.0]]), np.float32([0, 1, 2.7182817])),
        (np.float32([[0.5, -0.5]]), SIGNS),
        (np.float32([[1, 1], [0.5, 0.613]]), SIGNS),
        (np.full((8, 1), 1, np.float32), np.float32([0, 1, 65536 * 8])),
    ],
    ids=[
        "alphas of no common unit",
        "levels of no common unit",
        "negative",
        "one channel without a unit",
        "levels too far apart",
    ],
)
def test_no_integer_form(alpha: np.ndarray, levels: np.ndarray) -> None:
    assert accumulator(signs(*alpha.shape, 1, 1, 4), alpha, levels, False) is None


def test_each_channel_has_its_own_multiples() -> None:
    """Thresholds hold for channels whose scales are in other proportions, and for one without."""
    alpha = np.float32([[1, 0.3, 0, 0.7], [0.5, -0.9, 0, 0]])
    planes = signs(2, 4, 1, 1, 7)
    found = accumulator(planes, alpha, SIGNS, False)
    assert found is not None
    np.testing.assert_array_equal(found.weight, [[2, 1, 0, 1], [1, -3, 0, 0]])
    inputs = np.random.default_rng(1).choice(SIGNS, (50, 7))
    weight = (alpha[:, :, None] * planes[:, :, 0, 0]).sum(0)
    count = inputs @ (found.weight[:, :, None] * planes[:, :, 0, 0]).sum(0).T
    np.testing.assert_allclose(found.value(count), inputs @ weight.T, rtol=0, atol=1e-6)
    assert np.all(np.abs(count) <= found.bound)


@pytest.mark.parametrize("whole", [[17, 41, 96, 113], [3, 7, 200], [255, 256]])
def test_multiples_of_a_unit_that_is_no_difference(whole: list[int]) -> None:
    found = integer_multiples(np.float32(whole) * np.float32(0.0371))
    assert found is not None
    np.testing.assert_array_equal(found[1], whole)


def test_sums_that_32_bits_do_not_hold_are_refused() -> None:
    levels = np.float32([-256, 255])
    assert accumulator(signs(1, 1, 1, 1, 2**21 + 1), np.float32([[1]]), levels, False) is None
    assert accumulator(signs(1, 1, 1, 1, 2**20), np.float32([[1]]), levels, False) is not None
