from __future__ import annotations

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import (
    MOST_ADDED,
    PAST_END,
    STRIDES,
    byte_counts,
    byte_steps,
    pack_bytes,
    pack_steps,
    step_counts,
)
from tests.schedules.window_cases import BitCase, bit_case, call, placeholder


def case_of(M: int, P: int) -> BitCase:
    return bit_case(3, size=(5, 5), channels=(40, 70), kernel=(3, 3), dilation=(1, 2), M=M, P=P)


def check(case: BitCase, acc: te.Tensor, inputs: list[te.Tensor], values: list[np.ndarray]) -> None:
    """The plain loops of ``acc`` on this machine against NumPy."""
    empty = np.zeros([int(n) for n in acc.shape], np.int32)
    made = call(te.create_prim_func([*inputs, acc]), [*values, empty])[-1]
    rows, columns = case.window.out_height, case.window.out_width
    counts = made[:, :rows, :columns]  # [B, OH, OW, G, O, M, P, L]
    by_slot = np.moveaxis(counts, -1, 5).reshape(*counts.shape[:3], -1, *counts.shape[5:7])
    np.testing.assert_array_equal(by_slot[:, :, :, case.blocking.slot_of_channel()], case.counts())


@pytest.mark.parametrize(("M", "P"), [(1, 1), (2, 3)])
def test_counts_in_bytes(M: int, P: int) -> None:
    case = case_of(M, P)
    values = [case.bits(), pack_bytes(case.planes())]
    inputs = [placeholder("A", values[0]), placeholder("W", values[1])]
    check(case, byte_counts(*inputs, case.window, case.blocking, Tile(1, 2)), inputs, values)


@pytest.mark.parametrize(("M", "P"), [(1, 1), (2, 3)])
@pytest.mark.parametrize("parts", [1, 2, 8])
def test_counts_in_steps(M: int, P: int, parts: int) -> None:
    case, tile = case_of(M, P), Tile(1, 2, 1, parts)
    values = [case.bits(), pack_steps(case.planes(), tile)]
    inputs = [placeholder("A", values[0]), placeholder("W", values[1])]
    acc = step_counts(*inputs, M, case.window, case.blocking, tile)
    assert [int(n) for n in acc.op.attrs[STRIDES]] == [3, 3, 1, 1, 1, 2, 2]
    check(case, acc, inputs, values)


def test_bytes_are_the_words_in_memory(rng: np.random.Generator) -> None:
    planes = rng.integers(0, 1 << 32, (2, 1, 3, 2, 2, 32), np.uint32)
    packed = pack_bytes(planes)
    assert packed.shape == (2, 1, 3, 2, 2, 8, 16) and packed.dtype == np.uint8
    assert packed[1, 0, 2, 1, 0, 7, 15] == planes[1, 0, 2, 1, 0, 31] >> 24


def test_steps_read_one_plane_and_part_after_the_other() -> None:
    planes = np.zeros((1, 1, 1, 2, 2, 32), np.uint32)
    planes[0, 0, 0, 1, 0, 16:] = 1  # the second step of the first plane, second half of the lanes
    ordered = pack_steps(planes, Tile(parts=2)).view("<u4")
    assert ordered.size == 2 * 2 * 32 + PAST_END // 4
    np.testing.assert_array_equal(np.flatnonzero(ordered), np.arange(48, 64))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 1), (7, 7)])
@pytest.mark.parametrize("words", [1, 2, 3, 8, 31, 32, 37, 62])
def test_a_byte_never_overflows(kernel: tuple[int, int], words: int) -> None:
    steps = byte_steps(kernel, words)
    assert np.prod(steps) * 8 <= 255
    assert all(e % s == 0 for e, s in zip((*kernel, words), steps, strict=True))
    if np.prod((*kernel, words)) <= MOST_ADDED:
        assert steps == (*kernel, words)
