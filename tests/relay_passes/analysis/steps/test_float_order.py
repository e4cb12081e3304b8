"""Keys of float32 numbers: their order, and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.steps.float_order import from_key, to_key
from tests.relay_passes.chain_cases import FLOATS


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_keys_keep_the_order_and_come_back(values: list[float]) -> None:
    x = np.float32(values)[np.argsort(to_key(np.float32(values)))]
    key = to_key(x)
    assert np.all(np.diff(x) >= 0)
    np.testing.assert_array_equal(from_key(key).view(np.int32), x.view(np.int32))
    np.testing.assert_array_equal(
        to_key(np.nextafter(x, np.float32(np.inf)))[x != 0], key[x != 0] + 1
    )


def test_minus_zero_lies_just_below_zero() -> None:
    assert list(to_key(np.float32([-1e-45, -0.0, 0.0, 1e-45]))) == [-2, -1, 0, 1]
