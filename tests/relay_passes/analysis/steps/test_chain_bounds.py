"""A chain of a graph as a function of bounds, and channels of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.chain_bounds import Chain, chain_between
from abc_tvm.relay_passes.analysis.steps.chains import chain_behind
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep
from abc_tvm.relay_passes.rewrite import const, definitions
from tests.relay_passes.relax_graph import image, module

CHANNELS = 4
GAMMA = np.float32([1, -2, 0, 1])
BETA = np.float32([0.5, 0, -1, 0.5])


def chain_of(body: Callable[[relax.Var, Callable[..., relax.Var]], relax.Expr]) -> Chain:
    x = image("x", CHANNELS)
    mod = module([x], lambda bind: bind(body(x, bind), "end"))
    defined = definitions(mod["main"])
    (x,), end = mod["main"].params, list(defined)[-2]
    return chain_between(x, chain_behind(defined, end)[0], end)


def affine(x: relax.Var, bind: Callable[..., relax.Var]) -> relax.Expr:
    return relax.op.add(bind(relax.op.multiply(x, const(GAMMA))), const(BETA))


def test_points_give_what_the_operators_compute() -> None:
    points = np.random.default_rng(0).normal(size=(7, CHANNELS)).astype(np.float32)
    low, high = chain_of(affine)((points, points))
    np.testing.assert_array_equal(low, points * GAMMA + BETA)
    np.testing.assert_array_equal(high, low)


def test_intervals_hold_all_results() -> None:
    low, high = (np.full((1, CHANNELS), v, np.float32) for v in (-1, 3))
    least, most = chain_of(affine)((low, high))
    np.testing.assert_array_equal(least[0], [-0.5, -6, -1, -0.5])
    np.testing.assert_array_equal(most[0], [3.5, 2, -1, 3.5])


def test_channels_taken_apart() -> None:
    chain = chain_of(affine)
    first, same = chain.distinct(CHANNELS)
    assert len(first) == 3 and same[0] == same[3]
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(
        chain.at(first)((points, points))[0], points * GAMMA[first] + BETA[first]
    )


def test_a_chain_of_numbers_has_one_channel() -> None:
    chain = chain_of(lambda x, bind: relax.op.add(x, const(np.float32(2))))
    first, same = chain.distinct(CHANNELS)
    assert list(first) == [0] and list(same) == [0] * CHANNELS


@pytest.mark.parametrize(
    ("shape", "reason"), [((5, 5, 1), "pixel to pixel"), ((2, 1, 1, 1), "image to image")]
)
def test_refuses_what_differs_over_places(shape: tuple[int, ...], reason: str) -> None:
    constant = const(np.ones(shape, np.float32))
    with pytest.raises(NotAStep, match=reason):
        chain_of(lambda x, bind: relax.op.add(x, constant))
