"""Copies: what lies outside the image, and no test per element."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import s_tir, te, tirx

from abc_tvm.compute.accumulate import Tile, pad_spatial
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import float_output
from abc_tvm.schedules import blocks
from abc_tvm.schedules.processor.spatial import PARALLEL_BYTES, schedule_copies
from tests.schedules.window_cases import call, placeholder


def bordered(window: Window, channels: int) -> tuple[te.Tensor, te.Tensor]:
    shape = (window.batch, window.height, window.width, channels)
    data = te.placeholder(shape, "int32", name="x")
    return data, pad_spatial(data, window, Tile(), fill=7)


def scheduled(data: te.Tensor, out: te.Tensor) -> tirx.PrimFunc:
    sch = s_tir.Schedule(te.create_prim_func([data, out]))
    schedule_copies(sch, blocks.of_role(sch, "border"))
    return sch.mod["main"]


@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (0, 2, 1, 0), (2, 0, 0, 1), (1, 0, 1, 0)])
@pytest.mark.parametrize("channels", [1, 3, 32])
def test_a_border(padding: tuple[int, int, int, int], channels: int) -> None:
    window = Window(2, 3, 4, channels, 8, (3, 3), padding=padding)
    values = np.arange(24 * channels, dtype=np.int32).reshape(2, 3, 4, channels)
    data, out = bordered(window, channels)
    empty = np.zeros([int(n) for n in out.shape], np.int32)
    made = call(scheduled(data, out), [values, empty])[-1]
    top, left, _, _ = padding
    expected = np.full(empty.shape, 7)
    expected[:, top : top + 3, left : left + 4] = values
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("padding", "pieces"), [((1, 1, 1, 1), 3), ((1, 1, 1, 0), 2), ((1, 0, 1, 1), 2)]
)
def test_a_row_is_cut_into_border_and_image(
    padding: tuple[int, int, int, int], pieces: int
) -> None:
    """Runs of elements, so that none is tested alone."""
    text = scheduled(*bordered(Window(1, 6, 6, 4, 8, (3, 3), padding=padding), 4)).script()
    assert sum(line.count("_partition") for line in text.splitlines() if "sblock" in line) == pieces


@pytest.mark.parametrize("more", [-1, 0])
def test_large_copies_go_through_the_thread_pool(more: int) -> None:
    """A row more than what is faster alone: rows of 8 elements of 4 bytes."""
    rows = PARALLEL_BYTES // 32 + more
    window = Window(1, rows - 2, 6, 1, 8, (3, 3), padding=(1, 1, 1, 1))
    assert ("T.parallel" in scheduled(*bordered(window, 1)).script()) is (more == 0)


def test_channels_are_cropped_in_their_order(rng: np.random.Generator) -> None:
    blocking = Blocking(33)
    values = rng.standard_normal((1, 2, 2, 1, 2, 32)).astype(np.float32)
    x = placeholder("x", values)
    out = float_output("y", 1, 2, 2, blocking, lambda at: x[at])
    sch = s_tir.Schedule(te.create_prim_func([x, out]))
    schedule_copies(sch, blocks.of_role(sch, "crop"))
    made = call(sch.mod["main"], [values, np.zeros((1, 2, 2, 33), np.float32)])[-1]
    np.testing.assert_array_equal(made, values.reshape(1, 2, 2, 64)[..., :33])
