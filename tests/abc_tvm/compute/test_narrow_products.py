from __future__ import annotations

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.narrow_products import Narrow, is_narrow, narrow_products
from abc_tvm.schedules.plain import PLAIN
from abc_tvm.schedules.scheduler import Scheduler
from abc_tvm.targets import load
from tests.schedules.narrow_cases import CASES, narrow_kernel
from tests.schedules.window_cases import call, placeholder


@pytest.mark.parametrize(
    ("channels", "groups", "narrow"),
    [
        ((64, 64), 64, True),
        ((64, 128), 64, True),
        ((2, 62), 2, True),
        ((2, 64), 2, False),
        ((96, 32), 32, True),
        ((128, 32), 32, False),
        ((3, 16), 1, False),
        ((1, 1), 1, False),
    ],
)
def test_which_groups_are_narrow(channels: tuple[int, int], groups: int, narrow: bool) -> None:
    """Up to three inputs, and fewer outputs than lanes; a convolution of one group never is."""
    assert is_narrow(Window(1, 8, 8, *channels, (3, 3), groups=groups)) == narrow


def weights(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int8).reshape(len(rows), 1, -1, 1)


@pytest.mark.parametrize(
    ("rows", "largest", "signed", "dtype"),
    [
        ([[1, 1], [-1, 1]], 63, False, "int8"),
        ([[1, 1], [-1, 1]], 64, False, "int16"),
        ([[-1, -1]], 62, False, "int8"),
        ([[-1, -1]], 63, False, "int16"),
        ([[1, -1]], 62, True, "int8"),
        ([[1, -1]], 63, True, "int16"),
        ([[0, 1]], 1, False, "int16"),
        ([[2, 1]], 1, False, "int16"),
        ([[100, 28]], 255, False, "int16"),
        ([[100, 29]], 255, False, "int32"),
        ([[127, 127], [0, 0]], 128, True, "int16"),
        ([[127, 127, 3]], 128, True, "int32"),
    ],
)
def test_the_least_type_that_holds_every_sum(
    rows: list[list[int]], largest: int, signed: bool, dtype: str
) -> None:
    """Of signs, complements included; its greatest value is no sum, so that it stands for never."""
    narrow = Narrow(weights(*rows), largest, signed)
    assert narrow.dtype == dtype and narrow.signs == (dtype == "int8")
    flat = narrow.weights.reshape(len(rows), -1).astype(np.int64)
    codes = np.array([-largest if signed else 0, largest])
    limits = np.iinfo(dtype)
    for row, more in zip(flat, narrow.constant, strict=True):
        ends = [np.sum(np.where((row > 0) == up, codes[1], codes[0]) * row) for up in (True, False)]
        assert max(ends) - more < limits.max and min(ends) - more >= limits.min


def test_what_signs_miss() -> None:
    """``-c`` is the complement of ``c`` and one."""
    narrow = Narrow(weights([1, -1, -1], [1, 1, 1]), 3, signed=False)
    np.testing.assert_array_equal(narrow.constant, [2, 0])
    table = narrow.table(Blocking(2))
    assert table.dtype == np.int8 and table.shape == (1, 3, 1, 32)
    np.testing.assert_array_equal(table[0, :, 0, :3], [[0, 0, 0], [-1, 0, 0], [-1, 0, 0]])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("limits", [(1, 3), (5, 20), (127, 255)], ids=["int8", "int16", "int32"])
def test_sums_equal_numpy(
    case: dict[str, object], limits: tuple[int, int], rng: np.random.Generator
) -> None:
    """As plain loops; slots past the last channel hold anything."""
    kernel = narrow_kernel(case, Scheduler(PLAIN, load("zen4")), rng, *limits)
    *_, found = call(kernel.func, kernel.arguments)
    np.testing.assert_array_equal(found.reshape(kernel.expected.shape), kernel.expected)


def test_a_border_only_where_there_is_one() -> None:
    """Codes of whole tiles without padding are read where they lie."""
    window = Window(1, 6, 7, 64, 64, (3, 2), groups=64)
    narrow = Narrow(np.ones((64, 3, 2, 1), np.int8), 2, signed=False)
    codes = placeholder("A", np.zeros((1, 6, 7, 1, 64), np.uint8))
    table = placeholder("W", narrow.table(Blocking(64)))
    for tile, inputs in ((Tile(2, 3), {"A", "W"}), (Tile(1, 4), {"pad", "W"})):
        sums = narrow_products(codes, table, narrow, window, Blocking(64), tile)
        assert {tensor.op.name for tensor in sums.op.input_tensors} == inputs
        assert isinstance(sums, te.Tensor) and str(sums.dtype) == "int8"
