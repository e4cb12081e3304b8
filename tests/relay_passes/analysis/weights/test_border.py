"""The border correction against a convolution with explicit zero padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from abc_tvm.compute.geometry import Window
from abc_tvm.reference import conv2d
from abc_tvm.relay_passes.analysis.weights.border import border_of

SMALL = st.integers(1, 3)
PAIR = st.tuples(SMALL, SMALL)
PAD = st.tuples(*[st.integers(0, 3)] * 4)


def convolve(window: Window, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """``image [B, H, W, C]``, ``kernel [O, KH, KW, C/g]`` to ``[B, OH, OW, O]``, zeros outside."""
    out = conv2d(
        image.transpose(0, 3, 1, 2),
        kernel.transpose(0, 3, 1, 2),
        window.stride,
        window.padding,
        window.dilation,
        window.groups,
    )
    return out.transpose(0, 2, 3, 1)


def check(window: Window, M: int = 2, base: float = -0.75, seed: int = 0) -> None:
    """``Conv(B, base + a) = base * inside + ones - popcount(b xor a)`` at every pixel.

    The popcount runs over all taps; outside the image ``a`` is 0.
    """
    rng = np.random.default_rng(seed)
    o, c = window.out_channels, window.group_in
    planes = np.where(rng.random((M, o, *window.kernel, c)) < 0.5, -1, 1).astype(np.int8)
    a = rng.integers(0, 2, (2, window.height, window.width, window.in_channels)).astype(float)
    border = border_of(window)
    inside = border.inside_sums(planes)
    rows, columns = border.classes
    assert inside.shape == (rows, columns, M, o)
    at = inside[border.row_class[:, None], border.column_class[None]]  # [OH, OW, M, O]
    for m in range(M):
        b = (planes[m] > 0).astype(float)
        ones = b.reshape(o, -1).sum(1)
        popcount = ones + convolve(window, a, np.ones_like(b)) - 2 * convolve(window, a, b)
        found = base * at[:, :, m] + (ones - popcount)
        np.testing.assert_array_equal(found, convolve(window, a + base, planes[m].astype(float)))


@given(st.tuples(st.integers(1, 7), st.integers(1, 7)), PAIR, PAIR, PAIR, PAD)
def test_any_window(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None:
    window = Window(2, *size, 3, 2, kernel, stride, padding, dilation)
    assume(window.out_height > 0 and window.out_width > 0)
    check(window)


CASES: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({"kernel": (3, 3), "padding": (1, 1, 1, 1)}, (3, 3)),
    ({"kernel": (3, 3)}, (1, 1)),
    ({"kernel": (1, 1), "padding": (1, 1, 1, 1)}, (2, 2)),
    ({"kernel": (5, 5), "padding": (2, 2, 2, 2)}, (5, 5)),
    ({"kernel": (3, 3), "padding": (0, 0, 1, 1), "stride": (2, 2)}, (2, 2)),
    ({"kernel": (3, 3), "padding": (2, 2, 2, 2), "dilation": (2, 2)}, (3, 3)),
    ({"kernel": (3, 1), "padding": (1, 0, 1, 0)}, (3, 1)),
    ({"kernel": (2, 2), "padding": (1, 0, 0, 1), "groups": 4}, (2, 2)),
]


@pytest.mark.parametrize(("geometry", "classes"), CASES)
def test_classes(geometry: dict[str, Any], classes: tuple[int, int]) -> None:
    window = Window(2, 8, 8, 4, 4, **geometry)
    assert border_of(window).classes == classes
    check(window)


def test_padding_wider_than_the_kernel_has_a_class_with_no_tap_inside() -> None:
    window = Window(1, 2, 2, 1, 1, (2, 2), padding=(3, 3, 3, 3))
    border = border_of(window)
    assert not border.rows.any(1).all()
    check(window)
