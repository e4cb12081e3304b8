from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.compute.nibbles import MOST_ADDED, byte_steps, lookup_table, pack_nibbles


def test_table_counts_differing_bits() -> None:
    table = lookup_table()
    expected = [[bin(a ^ w).count("1") for w in range(16)] for a in range(16)]
    np.testing.assert_array_equal(table.reshape(16, 16), expected)
    assert table.dtype == np.uint8


def test_nibbles_put_together_are_the_words() -> None:
    planes = np.random.default_rng(0).integers(0, 1 << 32, (3, 2, 3, 2, 2, 32), dtype=np.uint32)
    nibbles = pack_nibbles(planes)
    assert nibbles.shape == (3, 2, 3, 16, 2, 32) and nibbles.dtype == np.uint8
    assert nibbles.max() == 15
    parts = nibbles.reshape(3, 2, 3, 2, 8, 2, 32).astype(np.uint32)
    shifts = np.arange(0, 32, 4, dtype=np.uint32).reshape(-1, 1, 1)
    np.testing.assert_array_equal(np.bitwise_or.reduce(parts << shifts, axis=4), planes)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 1), (7, 7)])
@pytest.mark.parametrize("words", [1, 2, 3, 4, 8, 11, 16, 67])
def test_a_byte_never_overflows(kernel: tuple[int, int], words: int) -> None:
    steps = byte_steps(kernel, 8 * words)
    assert int(np.prod(steps)) <= MOST_ADDED
    assert all(e % s == 0 for e, s in zip((*kernel, 8 * words), steps, strict=True))
    assert int(np.prod(steps)) >= min(8, int(np.prod((*kernel, 8 * words))))
