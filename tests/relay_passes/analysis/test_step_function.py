"""Thresholds found by bisection against the chain itself, float by float around every one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis import step_function
from abc_tvm.relay_passes.analysis.pointwise import TABLE, Bounds
from abc_tvm.relay_passes.analysis.step_function import (
    NotAStep,
    StepFunction,
    find_steps,
    find_steps_without_ties,
    from_key,
    to_key,
)

Chain = Callable[[Bounds], Bounds]
Constants = dict[str, np.ndarray]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MODERATE = st.floats(-8, 8, width=32)
SCALE = MODERATE.filter(lambda gamma: gamma == 0 or abs(gamma) > 2.0**-60)
"""Thresholds are searched up to 2**100: smaller scales would move them beyond."""

SPECIAL = np.float32(
    [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, -1.1754944e-38, 1, -1, 2.0**100, -(2.0**100)]
)


def chain_of(*parts: Any) -> Chain:
    """Operators ``(name, operand, ...)`` one after another; the running value is ``None``."""

    def run(x: Bounds) -> Bounds:
        for name, *operands in parts:
            args = [x if o is None else (np.float32(o), np.float32(o)) for o in operands]
            x = TABLE[name].bounds(*args)
        return x

    return run


def sign_of(gamma: Any, beta: Any) -> Chain:
    return chain_of(("multiply", None, gamma), ("add", None, beta), ("sign", None))


def brute(chain: Chain, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(chain((x, x))[0], np.float32)


def around(steps: StepFunction) -> np.ndarray:
    """``[P, C]``: every threshold, its four neighbours on both sides, and special values."""
    finite = steps.thresholds[np.isfinite(steps.thresholds)]
    keys = to_key(finite)[:, None] + np.arange(-4, 5)
    top = to_key(np.float32(2.0**100))
    points = from_key(np.clip(keys.reshape(-1), -top - 1, top))
    points = np.concatenate([points, SPECIAL])
    return np.repeat(points[:, None], steps.thresholds.shape[1], 1).astype(np.float32)


def assert_exact(chain: Chain, channels: int = 1, **options: Any) -> StepFunction:
    steps = find_steps(chain, channels, **options)
    x = around(steps)
    np.testing.assert_array_equal(steps(x), brute(chain, x))
    return steps


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_keys_keep_the_order_and_come_back(values: list[float]) -> None:
    x = np.float32(values)[np.argsort(to_key(np.float32(values)))]
    key = to_key(x)
    assert np.all(np.diff(x) >= 0)
    np.testing.assert_array_equal(from_key(key).view(np.int32), x.view(np.int32))
    np.testing.assert_array_equal(
        to_key(np.nextafter(x, np.float32(np.inf)))[x != 0], key[x != 0] + 1
    )


def test_minus_zero_lies_just_below_zero() -> None:
    assert list(to_key(np.float32([-1e-45, -0.0, 0.0, 1e-45]))) == [-2, -1, 0, 1]


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


def nowhere(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A tensor without atoms."""
    return np.zeros(len(first), bool)


def test_a_tie_that_no_atom_meets_goes_to_the_upper_side() -> None:
    chain = sign_of(np.float32([1, -1, 3]), np.float32([0.25, 0.25, -0.1]))
    steps, nominal = find_steps_without_ties(chain, 3, nowhere)
    assert list(steps.levels) == [-1, 1] and list(steps.sense) == [1, -1, 1]
    assert nominal == 1
    x = around(steps)
    wanted = brute(chain, x)
    np.testing.assert_array_equal(steps(x), np.where(wanted == 0, 1, wanted))


def test_a_tie_is_kept_in_the_channels_where_an_atom_meets_it() -> None:
    """Atoms at a quarter: the tie of the first and the second channel, beside the third's."""
    chain = sign_of(np.float32([1, -1, 2]), np.float32([-0.25, 0.25, -0.75]))

    def quarter(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        return (first <= 0.25) & (last >= 0.25)

    steps, nominal = find_steps_without_ties(chain, 3, quarter)
    assert list(steps.levels) == [-1, 0, 1] and nominal == 1
    at = np.float32([[0.25] * 3])
    np.testing.assert_array_equal(steps(at), [[0, 0, -1]])
    below, above = at - np.float32(1e-3), at + np.float32(1e-3)
    np.testing.assert_array_equal(steps(below), [[-1, 1, -1]])
    np.testing.assert_array_equal(steps(above), [[1, -1, -1]])
    tie = np.full((1, 3), 0.375, np.float32)  # the third channel's: no atom, and so no level
    assert brute(chain, tie)[0, 2] == 0 and steps(tie)[0, 2] == 1


@pytest.mark.parametrize("scale", [1e-6, 1, 1e4, 1e6, 1e8])
def test_small_and_large_inputs_keep_their_levels(scale: float) -> None:
    """A quantiser's piece is no tie, however narrow, wherever it ends."""
    four = (("maximum", None, 0), ("minimum", None, 3), ("round", None))
    chain = chain_of(("multiply", None, np.float32([scale])), *four)
    assert list(assert_exact(chain).levels) == [0, 1, 2, 3]
    assert list(find_steps_without_ties(chain, 1, nowhere)[0].levels) == [0, 1, 2, 3]
    three = (("maximum", None, -1), ("minimum", None, 1), ("round", None))
    chain = chain_of(("multiply", None, np.float32([scale])), *three)
    steps, nominal = find_steps_without_ties(chain, 1, nowhere)
    assert list(steps.levels) == [-1, 0, 1] and nominal == 2


def test_rounding_before_the_sign_makes_a_tie_and_no_level() -> None:
    """(x + 1) - 1 is 0 on an interval of float32, and in one point of the numbers."""
    chain = chain_of(("add", None, 1), ("subtract", None, 1), ("sign", None))
    steps, _ = find_steps_without_ties(chain, 1, nowhere)
    assert list(steps.levels) == [-1, 1]
    level = chain_of(("multiply", None, 1e6), ("round", None), ("sign", None))
    steps, _ = find_steps_without_ties(level, 1, nowhere)
    assert list(steps.levels) == [-1, 0, 1]


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


def test_sense_mirrors_the_levels() -> None:
    steps = StepFunction(np.float32([[0, 0], [1, 1]]), np.int8([1, -1]), np.float32([-3, 0, 5]))
    x = np.float32([[-1, -1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(steps(x), [[-3, 5], [0, 0], [5, -3]])


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


def test_channels_that_are_alike_are_examined_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of all channels together, whatever their number and order."""
    monkeypatch.setattr(step_function, "_BLOCK", 256)
    kinds = rng.standard_normal((2, 300)).astype(np.float32)
    which = rng.integers(0, 300, 700)
    constants = {"gamma": kinds[0, which], "beta": kinds[1, which], "one": np.float32([1])}
    asked = []

    def run(x: Bounds, at: Constants) -> Bounds:
        asked.append(x[0].shape[1])
        return sign_of(at["gamma"], at["beta"] * at["one"])(x)

    steps = find_steps(step_function.Chain(run, constants), 700)
    plain = find_steps(lambda x: run(x, constants), 700)
    for part in ("thresholds", "sense", "levels"):
        np.testing.assert_array_equal(getattr(steps, part), getattr(plain, part))
    distinct = len(np.unique(which))
    assert {n for n in asked if n != 700} == {256, distinct - 256}
