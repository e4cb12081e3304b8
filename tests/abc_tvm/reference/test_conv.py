"""The convolution against loops and torch's definition, and ABC-Net's sum of binary ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.errors import InputError
from abc_tvm.reference import abc_conv2d, activation_bases, conv2d, weight_bases


def small(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Quarters, whose products and sums are exact."""
    return rng.integers(-8, 9, shape) / 4


def by_loops(
    x: np.ndarray, w: np.ndarray, stride: int, pads: Any, dilation: int, groups: int
) -> Any:
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [dilation * (k - 1) + 1 for k in w.shape[2:]]
    size = [(n - k) // stride + 1 for n, k in zip(x.shape[2:], reach, strict=True)]
    y = np.zeros((len(x), len(w), *size))
    per = len(w) // groups
    for o in range(len(w)):
        first = o // per * w.shape[1]
        for r in range(size[0]):
            for c in range(size[1]):
                rows = slice(r * stride, r * stride + reach[0], dilation)
                cols = slice(c * stride, c * stride + reach[1], dilation)
                seen = x[:, first : first + w.shape[1], rows, cols]
                y[:, o, r, c] = (seen * w[o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 3)])
def test_as_loops_do(
    stride: int, pads: Any, dilation: int, groups: int, rng: np.random.Generator
) -> None:
    x, w = small(rng, 2, 4, 7, 8), small(rng, 6, 4 // groups, 3, 2)
    found = conv2d(x, w, stride, pads, dilation, groups)
    np.testing.assert_array_equal(found, by_loops(x, w, stride, pads, dilation, groups))


def test_ways_to_say_padding(rng: np.random.Generator) -> None:
    x, w = small(rng, 1, 1, 4, 4), small(rng, 1, 1, 3, 3)
    np.testing.assert_array_equal(conv2d(x, w, 1, 1), conv2d(x, w, 1, (1, 1, 1, 1)))
    np.testing.assert_array_equal(conv2d(x, w, 1, (0, 2)), conv2d(x, w, 1, (0, 2, 0, 2)))


def test_one_pixel_and_none() -> None:
    assert conv2d(np.ones((1, 3, 1, 1)), np.ones((2, 3, 1, 1))).tolist() == [[[[3]], [[3]]]]
    with pytest.raises(InputError, match="too small for kernel 2x1"):
        conv2d(np.ones((1, 1, 1, 1)), np.ones((1, 1, 2, 1)))
    assert conv2d(np.ones((0, 1, 2, 2)), np.ones((1, 1, 1, 1))).shape == (0, 1, 2, 2)


@pytest.mark.parametrize(("channels", "outputs", "groups"), [(3, 2, 1), (4, 3, 2)])
def test_channels_that_do_not_fit(channels: int, outputs: int, groups: int) -> None:
    with pytest.raises(InputError, match=f"groups={groups} do not fit an input of {channels}"):
        conv2d(np.ones((1, channels, 3, 3)), np.ones((outputs, 2, 1, 1)), groups=groups)


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_sum_of_binary_convolutions_is_one_of_their_sums(
    per_channel: bool, rng: np.random.Generator
) -> None:
    """By linearity: of the weights that the bases stand for, and of the levels."""
    real = small(rng, 2, 4, 5, 5)
    bases = weight_bases(small(rng, 6, 4, 3, 3), 3)
    alpha = small(rng, 3, 6) if per_channel else small(rng, 3)
    v, beta, bias = np.array([0.25, -0.5]), np.array([0.5, 1.25]), small(rng, 6)
    weights = (alpha.reshape(3, -1, 1, 1, 1) * bases).sum(0)
    levels = np.tensordot(beta, activation_bases(real, v), 1)
    found = abc_conv2d(real, bases, alpha, v, beta, bias=bias, padding=1, stride=2)
    wanted = conv2d(levels, weights, 2, 1) + bias.reshape(1, -1, 1, 1)
    np.testing.assert_array_equal(found, wanted)


def test_one_beta_for_each_shift() -> None:
    with pytest.raises(InputError, match=r"beta has shape \(1,\): v gives 2 activation bases"):
        abc_conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1, 1)), [1], [0, 1], [1])
