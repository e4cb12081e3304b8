from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.byte_sums import PAST_END, STRIDES
from abc_tvm.compute.float_steps import STEP_CHANNELS
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.int8_products import (
    DOT,
    code_slots,
    int8_products,
    pack_quads,
    pack_steps,
    quads,
    step_int8_products,
)
from abc_tvm.compute.lanes import Blocking
from abc_tvm.reference.conv import conv2d
from tests.schedules.window_cases import call, placeholder

CASES: list[dict[str, Any]] = [
    {"in_channels": 5, "out_channels": 33},
    {"in_channels": 17, "out_channels": 8, "kernel": (3, 2), "padding": (1, 0, 2, 1)},
    {"in_channels": 10, "out_channels": 6, "groups": 2, "kernel": (2, 2), "stride": (2, 1)},
    {"in_channels": 4, "out_channels": 64, "kernel": (3, 3), "dilation": (1, 2)},
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("steps", [False, True], ids=["quads", "steps"])
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 100), ("int8", 0)])
def test_sums_equal_numpy(
    case: dict[str, Any], steps: bool, dtype: str, zero: int, rng: np.random.Generator
) -> None:
    """Both forms as plain loops; slots past the last channel hold anything."""
    window = Window(2, 6, 7, **case)
    blocking, tile = Blocking(window.out_channels, window.groups), Tile(2, 3, 1, 2)
    limits = np.iinfo(dtype)
    shape = (2, 6, 7, window.groups, code_slots(window.group_in))
    codes = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    weights = rng.integers(-127, 128, (window.out_channels, *window.kernel, window.group_in))
    packed = pack_quads(weights.astype(np.int8), blocking)
    if steps:
        packed = pack_steps(packed, tile)
    inputs = [placeholder("A", codes), placeholder("W", packed)]
    compute = step_int8_products if steps else int8_products
    acc = compute(*inputs, window, blocking, tile, zero)
    empty = np.zeros([int(n) for n in acc.shape], np.int32)
    sums = call(te.create_prim_func([*inputs, acc]), [codes, packed, empty])[-1]
    top, left, bottom, right = window.padding
    image = codes[..., : window.group_in].reshape(2, 6, 7, -1).astype(np.float32)
    border = ((0, 0), (top, bottom), (left, right), (0, 0))
    image = np.pad(image, border, constant_values=zero).transpose(0, 3, 1, 2)
    expected = conv2d(
        image,
        weights.transpose(0, 3, 1, 2).astype(np.float32),
        stride=window.stride,
        dilation=window.dilation,
        groups=window.groups,
    ).transpose(0, 2, 3, 1)
    flat = sums[:, : window.out_height, : window.out_width].reshape(*expected.shape[:3], -1)
    np.testing.assert_array_equal(flat[..., blocking.slot_of_channel()], expected)


def test_four_input_channels_of_a_lane_lie_together() -> None:
    weights = np.arange(2 * 5, dtype=np.int8).reshape(2, 1, 1, 5)
    packed = pack_quads(weights, Blocking(2))
    assert packed.shape == (1, 1, 1, 2, 128)
    np.testing.assert_array_equal(packed[0, 0, 0, 0, :8], [0, 1, 2, 3, 5, 6, 7, 8])
    np.testing.assert_array_equal(packed[0, 0, 0, 1, :8], [4, 0, 0, 0, 9, 0, 0, 0])
    assert not packed[0, 0, 0, :, 8:].any()


def test_steps_end_with_zeros_that_may_be_read() -> None:
    packed = pack_quads(np.full((32, 1, 1, 20), 3, np.int8), Blocking(32))
    ordered = pack_steps(packed, Tile(parts=2))
    # Five quads are two steps of four: three quads are zeros.
    assert ordered.size == 2 * 4 * 32 * 4 + PAST_END
    assert not ordered[-PAST_END:].any()
    assert np.count_nonzero(ordered) == packed.size


@pytest.mark.parametrize(
    ("channels", "whole", "slots"), [(1, 1, 32), (4, 1, 32), (5, 2, 32), (32, 8, 32), (33, 9, 64)]
)
def test_extents(channels: int, whole: int, slots: int) -> None:
    assert (quads(channels), code_slots(channels)) == (whole, slots)


def test_what_schedules_are_told() -> None:
    window, blocking = Window(1, 5, 5, 20, 32, (3, 2), (2, 1)), Blocking(32)
    data = te.placeholder((1, 5, 5, 1, 32), "int8", name="A")
    weights = te.placeholder((4096,), "int8", name="W")
    attrs = step_int8_products(data, weights, window, blocking, Tile()).op.attrs
    assert [int(n) for n in attrs[STRIDES]] == [3, 2, 2, 1, 1, 1, 2]
    assert int(attrs[STEP_CHANNELS]) == 4 and int(attrs[DOT]) == 1
