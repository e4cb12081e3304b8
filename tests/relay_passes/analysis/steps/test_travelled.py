"""Step functions that were moved: their leaves, where each element comes from, common levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.moves.index_maps import FILL
from abc_tvm.relay_passes.analysis.moves.move import flat_index
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, StepFunction
from abc_tvm.relay_passes.analysis.steps.travelled import (
    MOST_LEAVES,
    Leaf,
    Travelled,
    at_rest,
    channels_read,
    common_levels,
    image_dims,
    pooled_behind,
    together,
)
from tests.relay_passes.relax_graph import tensor


def steps(
    channels: int, levels: tuple[float, ...] = (-1, 1), at: float = 0.0, sense: int = 1
) -> StepFunction:
    count = len(levels) - 1
    rows = np.repeat(np.float32(np.arange(count) + at)[:, None], channels, 1)
    return StepFunction(rows, np.full(channels, sense, np.int8), np.float32(levels))


def leaf(*shape: int, levels: tuple[float, ...] = (-1, 1), at: float = 0.0, sense: int = 1) -> Leaf:
    return Leaf(tensor("x", *shape), steps(shape[-1], levels, at, sense), len(levels) - 1)


def value(whole: Travelled, arrays: list[np.ndarray]) -> np.ndarray:
    """What a moved tensor holds where its roots hold ``arrays``."""
    parts = []
    for one, array in zip(whole.leaves, arrays, strict=True):
        x = np.moveaxis(array, 1, -1) if one.turned else array
        image = x.reshape(len(x), *image_dims(x.shape, False))
        parts.append(one.steps(np.tile(image, one.copies)).reshape(-1))
    flat = np.concatenate(parts)
    return np.where(whole.index == FILL, whole.fill or 0.0, flat[whole.index])


def test_at_rest_nothing_is_moved() -> None:
    whole = at_rest(leaf(2, 3, 4, 5))
    assert whole.identity() and list(whole.levels) == [-1, 1] and whole.nominal == 1
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(value(whole, [x]), np.where(x >= 0, 1, -1))


def test_channels_may_be_the_second_axis() -> None:
    shape = (2, 3, 4, 5)
    one = Leaf(tensor("x", *shape), steps(3), 1, turned=True)
    one = replace(one, steps=replace(one.steps, thresholds=np.float32([[-1, 0, 1]])))
    whole = at_rest(one)
    assert not whole.identity() and one.dims == (4, 5, 3)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = np.where(x >= np.float32([-1, 0, 1]).reshape(1, 3, 1, 1), 1, -1)
    np.testing.assert_array_equal(value(whole, [x]), wanted)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [((2, 7), (1, 1, 7)), ((2, 5, 7), (1, 5, 7)), ((2, 3, 4, 5, 6), (12, 5, 6)), ((2,), (1, 1, 1))],
)
def test_any_rank_is_an_image(shape: tuple[int, ...], dims: tuple[int, int, int]) -> None:
    assert image_dims(shape, False) == dims
    if len(shape) > 2:
        assert image_dims(shape, True)[2] == shape[1]


def test_levels_of_several_leaves_become_one_list() -> None:
    a, b = leaf(1, 2, 2, 3, levels=(-1, 1)), leaf(1, 2, 2, 2, levels=(0, 1), at=0.5, sense=-1)
    index = np.arange(12).reshape(1, 2, 2, 3)
    rows = [np.pad(index, ((0, 0),) * 3 + ((0, 2),), constant_values=FILL),
            np.pad(np.arange(8).reshape(1, 2, 2, 2), ((0, 0),) * 3 + ((3, 0),),
                   constant_values=FILL)]  # fmt: skip
    whole = together([at_rest(a), at_rest(b)], rows, [])
    assert [list(one.steps.levels) for one in whole.leaves] == [[-1, 0, 1]] * 2
    assert whole.fill is None
    x = [np.random.default_rng(i).standard_normal((1, 2, 2, 3 - i)).astype(np.float32)
         for i in range(2)]  # fmt: skip
    wanted = np.concatenate([a.steps(x[0]), b.steps(x[1])], 3)
    np.testing.assert_array_equal(value(whole, x), wanted)
    move = whole.move()
    assert flat_index(move, [one.dims for one in whole.leaves]).shape == (2, 2, 5)


def test_leaves_of_one_root_are_one_leaf() -> None:
    first = leaf(1, 2, 2, 3)
    second = replace(first, steps=steps(3, at=0.5))
    index = np.arange(12).reshape(1, 2, 2, 3)
    hole = np.full_like(index, FILL)
    rows = [np.concatenate([index, hole], 3), np.concatenate([hole, index], 3)]
    whole = together([at_rest(first), at_rest(second)], rows, [])
    (one,) = whole.leaves
    assert one.copies == 2 and one.steps.thresholds.shape == (1, 6)
    x = np.random.default_rng(0).standard_normal((1, 2, 2, 3)).astype(np.float32)
    wanted = np.concatenate([first.steps(x), second.steps(x)], 3)
    np.testing.assert_array_equal(value(whole, [x]), wanted)


def test_equal_levels_stay_as_they_are() -> None:
    both = [leaf(1, 2, 2, 3), leaf(1, 2, 2, 3, at=0.5)]
    assert common_levels(both, [one.steps.levels for one in both]) == both


def test_levels_change_by_channel() -> None:
    one = leaf(1, 2, 2, 3)
    values = np.float32([[-1, 1, 1], [1, -1, 1]])
    (changed,) = common_levels([one], [values])
    x = np.float32([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(changed.steps(x), values)


@pytest.mark.parametrize("sense", [1, -1])
def test_of_pooled_levels_the_greatest_stays_the_greatest(sense: int) -> None:
    one = replace(leaf(1, 2, 2, 3, sense=sense), pooled=tensor("p", 1, 1, 1, 3))
    (changed,) = common_levels([one], [np.float32([[0, 1, 1], [1, 2, 1]])])
    assert changed.steps.rising and list(changed.steps.sense[:2]) == [sense, sense]
    with pytest.raises(NotAStep, match="does not rise"):
        common_levels([one], [np.float32([[-1, 1, 1], [1, -1, 1]])])


def max_pooled(x: np.ndarray) -> np.ndarray:
    """Windows of two rows and two columns, in steps of one."""
    windows = [x[:, i : i + x.shape[1] - 1, j : j + x.shape[2] - 1] for i in (0, 1) for j in (0, 1)]
    return np.maximum.reduce(windows)


def test_channels_in_another_order_may_be_pooled() -> None:
    shapes = (2, 3, 4, 5), (2, 3, 4, 2)
    leaves = leaf(*shapes[0]), leaf(*shapes[1], at=0.5, sense=-1)
    order = np.random.default_rng(0).permutation(7)
    both = [np.arange(int(np.prod(s))).reshape(s) for s in shapes]
    sides = (0, 2), (5, 0)
    rows = [
        np.pad(x, ((0, 0), (0, 0), (0, 0), side), constant_values=FILL)[..., order]
        for x, side in zip(both, sides, strict=True)
    ]
    whole = together([at_rest(one) for one in leaves], rows, [])
    pooled = pooled_behind(whole, tensor("pooled", 2, 2, 3, 7))
    assert [one.dims for one in pooled.leaves] == [(2, 3, 5), (2, 3, 2)]
    assert pooled.move().shape == (2, 3, 7)
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    levels = [one.steps(x) for one, x in zip(whole.leaves, arrays, strict=True)]
    flat = np.concatenate([max_pooled(x).reshape(-1) for x in levels])
    np.testing.assert_array_equal(flat[pooled.index], max_pooled(value(whole, arrays)))


@pytest.mark.parametrize(
    "index",
    [
        np.arange(24).reshape(1, 2, 4, 3)[:, ::-1],
        np.arange(24).reshape(1, 2, 4, 3).swapaxes(1, 2),
        np.pad(np.arange(24).reshape(1, 2, 4, 3), ((0, 0), (1, 0), (0, 0), (0, 0)),
               constant_values=FILL),
        np.arange(24).reshape(1, 4, 2, 3),
    ],
)  # fmt: skip
def test_rows_and_columns_may_not(index: np.ndarray) -> None:
    whole = together([at_rest(leaf(1, 2, 4, 3))], [index], [-1.0])
    with pytest.raises(NotAStep, match="max-pooling of rows and columns"):
        pooled_behind(whole, tensor("pooled", 1, 1, 3, 3))


def test_falling_and_pooled_levels_are_not_pooled() -> None:
    falling = leaf(1, 2, 2, 3, levels=(1, -1))
    again = replace(leaf(1, 2, 2, 3), pooled=tensor("p", 1, 2, 2, 3))
    for one, reason in ((falling, "do not rise"), (again, "pooled or reshaped before")):
        with pytest.raises(NotAStep, match=reason):
            pooled_behind(at_rest(one), tensor("pooled", 1, 1, 1, 3))


def test_a_number_must_be_a_level() -> None:
    index = np.pad(np.arange(12).reshape(1, 2, 2, 3), ((0, 0), (1, 0), (0, 0), (0, 0)),
                   constant_values=FILL)  # fmt: skip
    whole = together([at_rest(leaf(1, 2, 2, 3))], [index], [1.0])
    assert whole.fill == 1.0 and not whole.identity() and whole.move().filled
    with pytest.raises(NotAStep, match="padded with 0, which is no level"):
        together([at_rest(leaf(1, 2, 2, 3))], [index], [0.0])
    with pytest.raises(NotAStep, match="several numbers"):
        together([at_rest(leaf(1, 2, 2, 3))], [index], [1.0, -1.0])


def test_what_is_cut_away_is_no_leaf() -> None:
    a, b = leaf(1, 2, 2, 3), leaf(1, 2, 2, 2, levels=(0, 1))
    index = np.arange(12).reshape(1, 2, 2, 3)
    whole = together([at_rest(a), at_rest(b)], [index, np.full_like(index, FILL)], [])
    assert len(whole.leaves) == 1 and whole.leaves[0].root is a.root


def test_refuses_many_leaves() -> None:
    many = [at_rest(leaf(1, 1, 1, 1)) for _ in range(MOST_LEAVES + 1)]
    place = np.arange(len(many)).reshape(1, 1, 1, -1)
    rows = [np.where(place == k, 0, FILL) for k in range(len(many))]
    with pytest.raises(NotAStep, match=f"put together of {MOST_LEAVES + 1} step functions"):
        together(many, rows, [])


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (np.arange(24).reshape(4, 6, 1, 1), "from image to image"),
        (np.arange(24).reshape(2, 2, 2, 3)[::-1], "from image to image"),
        (np.arange(24).reshape(2, 12), "from image to image"),
        (np.stack([np.arange(12), np.arange(12, 24)[::-1]]).reshape(2, 2, 2, 3), "in every image"),
    ],
    ids=["joined", "swapped", "rank", "differently"],
)  # fmt: skip
def test_refuses_what_has_no_tables(index: np.ndarray, reason: str) -> None:
    whole = Travelled((leaf(2, 2, 2, 3),), index)
    with pytest.raises(NotAStep, match=reason):
        whole.move()


def test_refuses_large_tables() -> None:
    order = np.random.default_rng(0).permutation(256 * 17 * 16).reshape(1, 256, 17, 16)
    whole = Travelled((leaf(1, 256, 17, 16),), order)
    with pytest.raises(NotAStep, match="rows, columns and channels"):
        whole.move()


def test_a_scale_goes_to_every_leaf_and_the_fill() -> None:
    whole = Travelled((leaf(1, 2, 2, 3, levels=(-2, 2)),), np.zeros((1, 1, 1, 1), int), -2.0)
    half = whole.scaled(np.float32(2))
    assert list(half.levels) == [-1, 1] and half.fill == -1.0


def test_which_channels_stand_where() -> None:
    index = np.arange(12).reshape(1, 2, 2, 3)[..., [2, 0, 0]]
    owners, inner, outer = channels_read(Travelled((leaf(1, 2, 2, 3),), index))
    assert set(zip(owners, inner, outer, strict=True)) == {(0, 2, 0), (0, 0, 1), (0, 0, 2)}
