"""Levels at a tie: given away where the input meets them by accident only."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.steps.constant_pieces import distinct_pieces, joined
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps_without_ties
from abc_tvm.relay_passes.analysis.steps.float_order import from_key
from abc_tvm.relay_passes.analysis.steps.ties import has_tie, without_ties
from tests.relay_passes.chain_cases import Chain, around, assert_exact, brute, chain_of, sign_of


def nowhere(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A tensor without atoms."""
    return np.zeros(len(first), bool)


def everywhere(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A tensor that may be anything."""
    return np.ones(len(first), bool)


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


@pytest.mark.parametrize(
    ("chain", "tied"),
    [
        (sign_of(np.float32([3]), np.float32([0.25])), True),
        (chain_of(("greater", None, 0.25), ("where", None, 1, -1)), False),
        (chain_of(("maximum", None, -1), ("minimum", None, 1), ("round", None)), False),
    ],
)
def test_what_looks_like_a_tie(chain: Chain, tied: bool) -> None:
    """A Sign has one; a comparison has none, and the middle piece of a quantiser is as wide."""
    (piece,), _ = distinct_pieces(chain, 1)
    assert has_tie(*joined(*piece)) == tied


def test_both_answers() -> None:
    """The tie of ``sign(x)`` at 0: with the higher neighbour, and as it is."""
    chain = sign_of(np.float32([1]), np.float32([0]))
    pieces = [joined(*piece) for piece in distinct_pieces(chain, 1)[0]]
    plain, kept = without_ties(pieces, chain, everywhere)
    assert kept is not None
    assert [list(values) for _, values in (*plain, *kept)] == [[-1, 1, 1], [-1, 0, 1]]
    start = from_key(plain[0][0])
    assert start[1] == 0 and start[2] == np.nextafter(np.float32(0), np.float32(1))
    assert without_ties(pieces, chain, nowhere)[1] is None
