"""Intervals on which a chain is constant."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.analysis.steps import constant_pieces
from abc_tvm.relay_passes.analysis.steps.chain_bounds import Chain, Constants
from abc_tvm.relay_passes.analysis.steps.constant_pieces import FLOAT_MAX, distinct_pieces, joined
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps
from abc_tvm.relay_passes.analysis.steps.float_order import from_key, to_key
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep
from tests.relay_passes.chain_cases import chain_of, sign_of


def test_channels_that_are_alike_are_examined_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of all channels together, whatever their number and order."""
    monkeypatch.setattr(constant_pieces, "_BLOCK", 256)
    kinds = rng.standard_normal((2, 300)).astype(np.float32)
    which = rng.integers(0, 300, 700)
    constants = {"gamma": kinds[0, which], "beta": kinds[1, which], "one": np.float32([1])}
    asked = []

    def run(x: Bounds, at: Constants) -> Bounds:
        asked.append(x[0].shape[1])
        return sign_of(at["gamma"], at["beta"] * at["one"])(x)

    steps = find_steps(Chain(run, constants), 700)
    plain = find_steps(lambda x: run(x, constants), 700)
    for part in ("thresholds", "sense", "levels"):
        np.testing.assert_array_equal(getattr(steps, part), getattr(plain, part))
    distinct = len(np.unique(which))
    assert {n for n in asked if n != 700} == {256, distinct - 256}


def test_pieces_cover_all_inputs_in_order() -> None:
    """Round to 0, 1, 2, halves to the even one: borders at 0.5 (below it) and 1.5 (from it on)."""
    chain = chain_of(("maximum", None, 0), ("minimum", None, 2), ("round", None))
    ((start, value),), same = distinct_pieces(chain, 1)
    assert list(same) == [0] and start[0] == to_key(-FLOAT_MAX)
    assert np.all(np.diff(start) > 0) and not np.isnan(value).any()
    start, value = joined(start, value)
    assert list(value) == [0, 1, 2]
    above = np.nextafter(np.float32(0.5), np.float32(1))
    assert list(from_key(start[1:])) == [above, 1.5]


def test_refuses_too_many_pieces() -> None:
    with pytest.raises(NotAStep, match="more than 256 different values"):
        distinct_pieces(chain_of(("round", None)), 1)


def test_refuses_nan() -> None:
    with pytest.raises(NotAStep, match="NaN for a finite input"):
        distinct_pieces(chain_of(("multiply", None, np.inf), ("sign", None)), 1)
