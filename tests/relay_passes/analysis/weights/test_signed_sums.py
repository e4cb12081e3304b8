"""Numbers as signed sums of scales: which way is taken, and that it gives them back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.weights.signed_sums import signed_sum


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=9, unique=True))
def test_every_value_comes_back(values: list[int]) -> None:
    wanted = np.sort(np.float64(values)) / 8
    found = signed_sum(wanted)
    assert found is not None
    alpha, codes = found
    assert set(np.unique(codes)) <= {-1, 1} and codes.shape == (len(wanted), len(alpha))
    np.testing.assert_allclose(codes @ alpha, wanted, atol=2.0**-17 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("values", "scales"),
    [
        ([-0.5, 0.5], [0.5]),
        ([-0.9, -0.5, 0.5, 0.9], [0.2, 0.7]),  # 1: two bases, all four sums
        ([-7, -1, 3, 5], [1, 2, 4]),  # 2: a grid of eight values, of which four are there
        ([-2, 0.5, 2], [0.75, 1.25]),  # 3: nested, from -2 to 2
        ([0, 1, 2, 3], [0.5, 1, 1.5]),  # 4: a grid of two bits about 1.5, and 1.5
        ([-3, 0.1, 2.2], [-0.4, 1.05, 1.55]),  # 5: nested about the middle, and the middle
        ([-3, -1, 0, 1, 3], [0.5, 1, 1.5]),  # 6: six is 1 + 2 + 3
        ([-5, -3, 0, 2, 7], [0.5, 1, 2, 3.5]),  # 6: on one side of a range about zero
        ([-17, -5, 13, 25, 43, 55], [3, 6, 12, 15, 19]),  # 6: six apart, about 19
    ],
)
def test_the_ways(values: list[float], scales: list[float]) -> None:
    found = signed_sum(np.float64(values))
    assert found is not None
    np.testing.assert_allclose(np.sort(found[0]), scales, rtol=2.0**-24)


@pytest.mark.parametrize("values", [[0.45, 1e8], [-1e8, 0.45, 1e8], [-1, 1e-9, 1]])
def test_no_float32_scales_give_numbers_of_too_different_size(values: list[float]) -> None:
    assert signed_sum(np.float64(values)) is None


def test_a_single_value_is_a_constant() -> None:
    found = signed_sum(np.float64([0.25]))
    assert found is not None
    np.testing.assert_array_equal(found[1] @ found[0], [0.25])


@pytest.mark.parametrize("step", [1.0, 0.3, 0.0123, 1e-6])
@given(st.lists(st.integers(-15, 15), min_size=2, max_size=16, unique=True))
def test_gaps_cost_no_plane(step: float, whole: list[int]) -> None:
    """At most the bits of the whole range, of values rounded to float32 each."""
    values = np.sort((np.float32(step) * np.float32(whole)).astype(np.float64))
    found = signed_sum(values)
    assert found is not None
    alpha, codes = found
    bits = int(2 * np.abs(whole).max()).bit_length()
    assert len(alpha) <= min(bits, 1 + int(np.ptp(whole)).bit_length())
    kept = codes @ alpha.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(kept, values, atol=2.0**-21 * np.abs(values).max())


def test_two_numbers_may_be_one_multiple() -> None:
    """Beside large numbers their common step is too coarse to tell these apart."""
    values = np.array([-33554430.0, -16777215.0, -8388607.0, -4194304.5, -4194303.5, -2097151.75,
                       4194304.5, 8388609.0, 16777216.0, 33554436.0])  # fmt: skip
    found = signed_sum(values)
    if found is not None:
        alpha, codes = found
        np.testing.assert_allclose(codes @ np.float32(alpha), values, rtol=2.0**-20)
