"""Moves of images as tables, against the indices that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.moves.index_maps import FILL
from abc_tvm.relay_passes.analysis.moves.move import (
    MOST_PLACES,
    OUTSIDE,
    Move,
    as_move,
    copied,
    flat_index,
    put_together,
)

Dims = Sequence[tuple[int, int, int]]
H, W, C = 4, 6, 8


def numbers(h: int = H, w: int = W, c: int = C, start: int = 0) -> np.ndarray:
    """An image ``[h, w, c]`` whose elements are their own index."""
    return np.arange(start, start + h * w * c).reshape(h, w, c)


def shuffled(x: np.ndarray, groups: int) -> np.ndarray:
    h, w, c = x.shape
    return x.reshape(h, w, groups, c // groups).swapaxes(2, 3).reshape(h, w, c)


def space_to_depth(x: np.ndarray) -> np.ndarray:
    h, w, c = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, c).transpose(0, 2, 1, 3, 4).reshape(h // 2, w // 2, -1)


def depth_to_space(x: np.ndarray) -> np.ndarray:
    h, w, c = x.shape
    return x.reshape(h, w, 2, 2, c // 4).transpose(0, 2, 1, 3, 4).reshape(2 * h, 2 * w, c // 4)


ONE = [(H, W, C)]
TWO = [(H, W, C), (H, W, 3)]
MOVES: dict[str, tuple[np.ndarray, Dims]] = {
    "nothing": (numbers(), ONE),
    "transposed": (numbers().transpose(1, 0, 2), ONE),
    "channels first": (numbers().transpose(2, 0, 1), ONE),
    "cut": (numbers()[1:, ::-2, 2:7], ONE),
    "shuffled": (shuffled(numbers(), 4), ONE),
    "twice as large": (numbers().repeat(2, 0).repeat(3, 1), ONE),
    "space to depth": (space_to_depth(numbers()), ONE),
    "depth to space": (depth_to_space(numbers()), ONE),
    "flattened": (numbers().reshape(1, 1, -1), ONE),
    "flattened, channels first": (numbers().transpose(2, 0, 1).reshape(1, 1, -1), ONE),
    "padded": (np.pad(numbers(), ((1, 0), (0, 2), (1, 1)), constant_values=FILL), ONE),
    "by its edge": (np.pad(numbers(), ((1, 1), (2, 2), (0, 0)), mode="edge"), ONE),
    "side by side": (np.concatenate([numbers(), numbers(c=3, start=H * W * C)], 2), TWO),
    "one above the other": (np.concatenate([numbers(), numbers(start=H * W * C)], 0), [*ONE, *ONE]),
    "left and right": (
        np.concatenate([numbers(c=3), numbers(2, 5, 3, H * W * 3)[:1].repeat(4, 0)], 1),
        [(H, W, 3), (2, 5, 3)],
    ),
    "rows of another length": (numbers().reshape(H * W // 8, 8, C)[:, :5], ONE),
    "any order": (
        np.random.default_rng(0).permutation(numbers().reshape(-1)).reshape(H, W, C),
        ONE,
    ),
    "above a hole": (
        np.pad(
            np.concatenate([numbers()[:2], numbers(start=H * W * C)]),
            ((1, 0), (0, 2), (0, 0)),
            constant_values=FILL,
        ),
        [*ONE, *ONE],
    ),
    "mixed": (shuffled(np.concatenate([numbers(), numbers(start=H * W * C)], 2), 2), [*ONE, *ONE]),
}


@pytest.mark.parametrize("name", MOVES)
def test_the_tables_are_the_indices(name: str) -> None:
    index, dims = MOVES[name]
    move = as_move(index, dims)
    assert move is not None and move.shape == index.shape
    np.testing.assert_array_equal(flat_index(move, dims), index)
    assert move.filled == bool((index == FILL).any())


def test_tables_have_an_end() -> None:
    index = np.arange(MOST_PLACES + 256).reshape(-1, 16, 16)
    assert as_move(index, [index.shape]) is not None
    assert as_move(np.random.default_rng(0).permutation(index.reshape(-1)).reshape(index.shape),
                   [index.shape]) is None  # fmt: skip


def test_tables_are_as_short_as_may_be() -> None:
    sizes = {name: as_move(*MOVES[name]).channels.shape for name in MOVES}  # type: ignore[union-attr]
    assert sizes["shuffled"] == (3, C) and sizes["any order"] == (3, H, W, C)
    assert sizes["one above the other"] == (3, 2 * H, 1, C)
    assert sizes["left and right"] == (3, 1, W + 5, 3)


def test_a_coordinate_never_leaves_its_image() -> None:
    """``y * W + x`` is the same for the first of a row and the one behind the row before it."""
    index = np.arange(6).reshape(2, 3, 1)
    for dims, shape in (((2, 4, 1), (3, 2, 3, 1)), ((3, 2, 1), (3, 2, 3, 1)), ((6, 1, 1), (3, 1))):
        move = as_move(index, [dims])
        assert move is not None and move.channels.shape == shape
        np.testing.assert_array_equal(flat_index(move, [dims]), index)


def test_copies() -> None:
    rows, columns, channels, source = copied((2, 3, 5), 3)
    index = flat_index(Move(rows, columns, channels, source), [(2, 3, 5)])
    np.testing.assert_array_equal(index, np.tile(numbers(2, 3, 5), 3))


def test_several_images_become_one_first() -> None:
    index, dims = MOVES["mixed"]
    move = as_move(index, dims)
    assert move is not None
    both = put_together(move, dims, C)
    assert both is not None
    first, then = both
    whole = flat_index(first, dims)
    np.testing.assert_array_equal(whole, np.concatenate([numbers(), numbers(start=H * W * C)], 2))
    inner = flat_index(then, [(H, W, 2 * C)])
    np.testing.assert_array_equal(whole.reshape(-1)[inner], index)


def test_several_images_with_a_hole() -> None:
    index = np.pad(MOVES["mixed"][0], ((1, 0), (0, 1), (0, 0)), constant_values=FILL)
    dims = [*ONE, *ONE]
    move = as_move(index, dims)
    assert move is not None
    both = put_together(move, dims, 1)
    assert both is not None
    whole = flat_index(both[0], dims)
    inner = flat_index(both[1], [(H, W, 2 * C)])
    found = np.where(inner == FILL, FILL, whole.reshape(-1)[inner])
    np.testing.assert_array_equal(found, index)


@pytest.mark.parametrize(
    ("dims", "unit"), [(ONE, 1), (TWO, 8), ([(H, W, C), (H, 1, C)], 1)],
    ids=["one", "parts of a unit", "sizes"],
)  # fmt: skip
def test_where_they_stay_several(dims: Dims, unit: int) -> None:
    move = as_move(numbers(), ONE)
    assert move is not None and put_together(move, dims, unit) is None


@pytest.mark.parametrize("name", ["padded", "above a hole"])
def test_what_is_outside_is_so_on_every_axis(name: str) -> None:
    index, dims = MOVES[name]
    move = as_move(index, dims)
    assert move is not None
    places = move.places()[1:]
    outside = index == FILL
    assert np.all(places[:, outside] < 0) and np.all(places[:, ~outside] >= 0)
    assert OUTSIDE + max(index.shape) * 4 < 0
