"""Pooling in both layouts, by loops: padding never wins, and windows in the padding are dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from abc_tvm.checks.graphs.windows import average_pool, max_pool, onnx_pads, out_size

X = np.random.default_rng(0).integers(-9, 10, (2, 5, 7, 3)).astype(np.float32)
"""``[B, H, W, C]``."""

Four = tuple[int, int, int, int]
Pair = tuple[int, int]


def by_loops(
    stride: Pair,
    dilation: Pair,
    pads: Four,
    ceil: bool,
    what: Callable[[list[np.ndarray]], np.ndarray],
) -> np.ndarray:
    """Of windows of 2x2."""
    outs = [
        out_size(X.shape[1 + i], 2, stride[i], dilation[i], pads[i], pads[2 + i], ceil)
        for i in (0, 1)
    ]
    y = np.zeros((2, *outs, 3), np.float32)
    for r in range(outs[0]):
        for c in range(outs[1]):
            taps = [
                X[:, i, j]
                for i in (r * stride[0] - pads[0] + k * dilation[0] for k in range(2))
                for j in (c * stride[1] - pads[1] + k * dilation[1] for k in range(2))
                if 0 <= i < 5 and 0 <= j < 7
            ]
            y[:, r, c] = what(taps)
    return y


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 1, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_the_largest(stride: Pair, pads: Four, dilation: Pair, ceil: bool) -> None:
    wanted = by_loops(stride, dilation, pads, ceil, lambda taps: np.max(taps, 0))
    found = max_pool(X, (2, 2), stride, dilation, pads, ceil, 1)
    np.testing.assert_array_equal(found, wanted)
    turned = max_pool(X.transpose(0, 3, 1, 2), (2, 2), stride, dilation, pads, ceil, 2)
    np.testing.assert_array_equal(turned.transpose(0, 2, 3, 1), wanted)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 1, 1)])
def test_the_mean(pads: Four, include: bool) -> None:
    def mean(taps: list[np.ndarray]) -> np.ndarray:
        return np.sum(taps, 0) / np.float32(4 if include else len(taps))

    wanted = by_loops((2, 1), (1, 1), pads, False, mean)
    np.testing.assert_array_equal(average_pool(X, (2, 2), (2, 1), pads, include, 1), wanted)


def test_padding_never_wins_among_bytes() -> None:
    x = np.full((1, 2, 2, 1), -128, np.int8)
    assert (max_pool(x, (2, 2), (1, 1), (1, 1), (1, 1, 1, 1), False, 1) == -128).all()


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "pads", "floor", "ceil"),
    [
        (5, 2, 2, 1, (0, 0), 2, 3),
        (5, 1, 2, 1, (0, 0), 3, 3),
        (4, 3, 2, 1, (0, 0), 1, 2),
        (4, 2, 2, 1, (0, 1), 2, 2),  # a third window would start in the padding
        (5, 2, 1, 3, (0, 0), 2, 2),
    ],
)
def test_how_many_windows(
    n: int, k: int, s: int, d: int, pads: Pair, floor: int, ceil: int
) -> None:
    assert out_size(n, k, s, d, *pads, ceil=False) == floor
    assert out_size(n, k, s, d, *pads, ceil=True) == ceil


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({}, [0, 0, 0, 0]),
        ({"pads": [1, 2, 3, 4]}, [1, 2, 3, 4]),
        ({"auto_pad": "VALID", "pads": [1, 2, 3, 4]}, [0, 0, 0, 0]),
        ({"auto_pad": "SAME_UPPER"}, [0, 1, 1, 1]),
        ({"auto_pad": "SAME_LOWER"}, [1, 1, 0, 1]),
    ],
)
def test_pads_of_a_node(attributes: dict[str, Any], wanted: list[int]) -> None:
    assert onnx_pads((5, 5), (2, 3), (1, 2), (1, 1), attributes) == wanted
