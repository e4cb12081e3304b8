from __future__ import annotations

import itertools

import numpy as np
import pytest

from abc_tvm.compute.geometry import Window, pair, words


@pytest.mark.parametrize(("channels", "count"), [(1, 1), (31, 1), (32, 1), (33, 2), (64, 2)])
def test_words(channels: int, count: int) -> None:
    assert words(channels) == count


def test_attributes_of_one_and_of_two_numbers() -> None:
    assert pair(3) == pair([3]) == pair((3, 3)) == (3, 3)
    assert pair([1, 2]) == (1, 2)


def test_outputs_are_the_places_where_the_window_fits() -> None:
    """Counted place by place, for rows; columns have other numbers of everything."""
    for height, kernel, stride, dilation, top, bottom in itertools.product(
        (1, 4, 9), (1, 2, 3), (1, 2, 3), (1, 2), (0, 2), (0, 1)
    ):
        span = (kernel - 1) * dilation + 1
        starts = range(0, height + top + bottom, stride)
        places = sum(start + span <= height + top + bottom for start in starts)
        if not places:
            continue
        rows = Window(
            1, height, 7, 1, 1, (kernel, 2), (stride, 1), (top, 0, bottom, 0), (dilation, 1)
        )
        columns = Window(
            1, 7, height, 1, 1, (2, kernel), (1, stride), (0, top, 0, bottom), (1, dilation)
        )
        assert rows.out_height == columns.out_width == places
        assert rows.out_width == columns.out_height == 6
        assert rows.reach(0, places) == columns.reach(1, places) == starts[places - 1] + span


def test_multiply_accumulates_of_groups() -> None:
    window = Window(8, 5, 6, 12, 20, (3, 2), groups=4)
    weights = np.zeros((20, 3, 2, window.group_in))
    assert (window.group_in, window.group_out, window.taps) == (3, 5, 6)
    assert window.macs == 3 * 5 * weights.size
