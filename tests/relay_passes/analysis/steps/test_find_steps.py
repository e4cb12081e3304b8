"""Thresholds found by bisection against the chain itself, float by float around every one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.pointwise import TABLE, Bounds
from abc_tvm.relay_passes.analysis.steps import find_steps as module
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep
from tests.relay_passes.chain_cases import (
    MODERATE,
    SCALE,
    SPECIAL,
    Chain,
    assert_exact,
    chain_of,
    sign_of,
)


@given(st.lists(st.tuples(SCALE, MODERATE), min_size=1, max_size=6))
def test_sign_of_an_affine_map(pairs: list[tuple[float, float]]) -> None:
    """gamma below, at and above zero in one layer; the tie is a level of its own."""
    gamma, beta = np.float32(pairs).T
    assert_exact(sign_of(gamma, beta), len(pairs))


@given(st.lists(st.tuples(SCALE, MODERATE), min_size=1, max_size=4), MODERATE)
def test_where_of_a_comparison(pairs: list[tuple[float, float]], threshold: float) -> None:
    gamma, beta = np.float32(pairs).T
    head = (("multiply", None, gamma), ("add", None, beta))
    for name in ("greater", "greater_equal", "less", "less_equal"):
        assert_exact(chain_of(*head, (name, None, threshold), ("where", None, 0.5, -2)), len(pairs))


@given(st.lists(MODERATE, min_size=1, max_size=4), st.floats(0.125, 4, width=32))
def test_clip_and_round(shifts: list[float], step: float) -> None:
    chain = chain_of(
        ("add", None, np.float32(shifts)),
        ("maximum", None, 0),
        ("minimum", None, 1),
        ("multiply", None, 7),
        ("round", None),
        ("divide", None, 7),
        ("multiply", None, step),
    )
    steps = assert_exact(chain, len(shifts))
    assert len(steps.levels) == 8 and steps.rising


@pytest.mark.parametrize("slope", [0.0, 0.25, 2.0, 1e-30])
def test_prelu_before_the_sign(slope: float) -> None:
    """PReLU arrives as ``max(x, 0) + slope * min(x, 0)``."""

    def leaky(x: Bounds) -> Bounds:
        positive = chain_of(("maximum", None, 0))(x)
        negative = chain_of(("minimum", None, 0), ("multiply", None, slope))(x)
        return TABLE["add"].bounds(positive, negative)

    above = chain_of(("greater_equal", None, -0.5), ("where", None, 1, -1))
    assert_exact(lambda x: above(leaky(x)))
    sign = chain_of(("add", None, -0.5), ("sign", None))
    assert_exact(lambda x: sign(leaky(x)))


def test_a_product_that_underflows_is_a_wide_tie() -> None:
    """1e-30 * x is 0 for small x: the tie is an interval, found to the last float."""
    steps = assert_exact(sign_of(np.float32([1e-30]), np.float32([0])))
    assert list(steps.levels) == [-1, 0, 1]
    assert steps.thresholds[1, 0] > 0 > steps.thresholds[0, 0]


def test_zero_gamma_is_a_constant_channel() -> None:
    steps = assert_exact(sign_of(np.float32([0, 1, 0]), np.float32([2, 0, -2])), 3)
    assert not np.isfinite(steps.thresholds[:, [0, 2]]).any()


@pytest.mark.parametrize("beta", [-np.inf, np.inf])
def test_an_infinite_shift_is_a_constant_channel(beta: float) -> None:
    steps = find_steps(sign_of(np.float32([1]), np.float32([beta])), 1)
    np.testing.assert_array_equal(steps(SPECIAL[:, None]), np.sign(np.float32(beta)))


def test_minus_zero_and_zero_are_one() -> None:
    steps = assert_exact(chain_of(("greater_equal", None, 0), ("where", None, 1, -1)))
    assert list(steps(np.float32([[0.0], [-0.0], [-1e-45]])).ravel()) == [1, 1, -1]
    steps = assert_exact(chain_of(("greater", None, 0), ("where", None, 1, -1)))
    assert list(steps(np.float32([[0.0], [-0.0], [1e-45]])).ravel()) == [-1, -1, 1]


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (chain_of(("multiply", None, 2)), "different values"),
        (chain_of(("divide", 1, None), ("sign", None)), "tells -0.0 from 0.0"),
        (chain_of(("multiply", None, np.inf), ("sign", None)), "NaN"),
        (
            chain_of(("abs", None), ("greater", None, 1), ("where", None, -1, np.float32([1, 5]))),
            "channels step through different levels",
        ),
    ],
)
def test_refusals(chain: Chain, reason: str) -> None:
    with pytest.raises(NotAStep, match=reason):
        find_steps(chain, 2)


def test_levels_that_are_given_are_kept() -> None:
    """Three levels, of which the chain takes the outer two: one threshold twice."""
    chain = chain_of(("greater_equal", None, 0.5), ("where", None, 2, 0))
    steps = find_steps(chain, 1, levels=np.arange(3, dtype=np.float32))
    assert list(steps.levels) == [0, 1, 2] and list(steps.thresholds[:, 0]) == [0.5, 0.5]
    with pytest.raises(NotAStep, match="different levels"):
        find_steps(chain, 1, levels=np.arange(2, dtype=np.float32))


def test_refuses_more_thresholds_than_memory_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_THRESHOLDS", 5)
    chain = chain_of(("add", None, np.float32([1, 2, 3])), ("sign", None))
    with pytest.raises(NotAStep, match="2 thresholds for each of 3 channels"):
        find_steps(chain, 3)
