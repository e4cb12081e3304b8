"""The paper's bases, least-squares scales, and words of bits, at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.errors import InputError
from abc_tvm.reference import (
    activation_bases,
    basis_shifts,
    on_grid,
    pack_bits,
    solve_alpha,
    unpack_bits,
    weight_bases,
)


def test_reference_bases() -> None:
    weights = np.array([[-2.0, -0.5], [0.5, 2.0]])
    np.testing.assert_array_equal(weight_bases(weights, 1)[0], np.sign(weights))
    bases = weight_bases(weights, 3)
    assert (np.diff(bases, axis=0) >= 0).all(), "a larger shift turns no +1 into -1"
    rebuilt = np.tensordot(solve_alpha(weights, bases), bases, 1)
    assert np.abs(rebuilt - weights).max() < np.abs(weights).max()
    per_channel = solve_alpha(weights, bases, per_channel=True)
    assert per_channel.shape == (3, 2)
    np.testing.assert_allclose((per_channel[:, :, None] * bases).sum(0), weights, atol=1e-12)
    real = np.array([0.5, 0.49, -0.0], dtype=np.float32)
    np.testing.assert_array_equal(activation_bases(real, [0.0, 0.5]), [[1, -1, -1], [1, 1, 1]])


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 65])
def test_pack_bits_round_trip(channels: int) -> None:
    bits = np.random.default_rng(channels).random((2, channels, 3)) < 0.5
    words = pack_bits(bits, axis=1)
    assert words.dtype == np.uint32 and words.shape == (2, -(-channels // 32), 3)
    last = channels - 1
    np.testing.assert_array_equal((words[:, last // 32] >> (last % 32)) & 1, bits[:, last])
    np.testing.assert_array_equal(unpack_bits(words, 1, channels), bits)


def test_shifts_of_the_paper() -> None:
    assert basis_shifts(1).tolist() == [0]
    assert basis_shifts(2).tolist() == [-1, 1]
    assert basis_shifts(5).tolist() == [-1, -0.5, 0, 0.5, 1]
    with pytest.raises(InputError, match="M is 0: give at least one weight basis"):
        basis_shifts(0)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [(np.float16, np.float16), (np.float32, np.float32), (np.int8, np.float64)],
)
def test_the_type_of_bases(given: Any, dtype: Any) -> None:
    weights = np.array([[-3, 1], [0, 2]], given)
    assert weight_bases(weights, 2).dtype == dtype
    assert activation_bases(weights, [0.5]).dtype == dtype


def test_a_zero_is_plus_one() -> None:
    assert weight_bases(np.zeros((2, 2)), 1).tolist() == [[[1, 1], [1, 1]]]
    assert weight_bases(np.array([1.0, 3.0]), 1, [1.0]).tolist() == [[1, 1]], "-1 + 1 is 0"
    assert activation_bases([0.5, np.nan, -0.0], [0]).tolist() == [[1, -1, -1]]


def test_an_addition_is_rounded_as_the_network_rounds_it() -> None:
    real = np.float32([0.5 - 2.0**-25])
    assert activation_bases(real, [2.0**-26]).tolist() == [[1]], "half an ulp is rounded to even"
    assert activation_bases(real.astype(np.float64), [2.0**-26]).tolist() == [[-1]]


def test_dependent_bases_share_their_scale() -> None:
    weights = np.array([[2.0, -2.0]])
    bases = np.sign(np.stack([weights, weights]))
    np.testing.assert_allclose(solve_alpha(weights, bases), [1, 1])
    np.testing.assert_allclose(solve_alpha(weights, bases, per_channel=True), [[1], [1]])


def test_shapes_that_do_not_belong_together() -> None:
    with pytest.raises(InputError, match=r"u has shape \(1,\): give one shift for each of 2"):
        weight_bases(np.ones((2, 2)), 2, [0.0])
    with pytest.raises(InputError, match=r"B has shape \(3, 2\): expected \[M, \(3, 2\)\]"):
        solve_alpha(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(InputError, match="v has shape"):
        activation_bases([1.0], 0.5)
    with pytest.raises(InputError, match="33 bits asked for, but 1 words hold fewer"):
        unpack_bits(np.zeros(1, np.uint32), 0, 33)


def test_no_bits() -> None:
    assert pack_bits(np.zeros((2, 0)), 1).shape == (2, 0)
    assert unpack_bits(np.zeros((2, 0), np.uint32), 1, 0).shape == (2, 0)


def test_the_high_bits_of_the_last_word_are_zero() -> None:
    assert pack_bits(np.ones(33), 0).tolist() == [2**32 - 1, 1]
    assert pack_bits([0, -3, np.nan, 0], 0).tolist() == [6], "what is not zero counts"


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_scales_on_a_grid(count: int) -> None:
    scales = np.random.default_rng(count).uniform(0.1, 1, count)
    rounded = on_grid(scales)
    unit = np.gcd.reduce(np.rint(rounded * 2.0**40).astype(np.int64)) * 2.0**-40
    assert rounded.dtype == np.float32
    assert np.abs(rounded).sum() / unit <= 127
    assert np.abs(rounded - scales).max() <= unit
    np.testing.assert_array_equal(on_grid(rounded), rounded)
    assert on_grid(np.zeros(count)).tolist() == [0] * count
