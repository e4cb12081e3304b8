from __future__ import annotations

import numpy as np
import pytest
from tvm import te, tirx

from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.compute.roles import ROLE
from tests.schedules.window_cases import call, placeholder


@pytest.mark.parametrize(
    ("channels", "groups", "blocks", "aligned"),
    [(1, 1, 1, False), (32, 1, 1, True), (33, 1, 2, False), (64, 2, 1, True), (66, 2, 2, False)],
)
def test_blocks_of_a_group(channels: int, groups: int, blocks: int, aligned: bool) -> None:
    blocking = Blocking(channels, groups)
    assert (blocking.blocks, blocking.slots) == (blocks, groups * blocks * 32)
    assert blocking.aligned is aligned is (blocking.slots == channels)
    slots = blocking.slot_of_channel()
    assert len(set(slots)) == channels and slots.max() < blocking.slots
    assert not aligned or np.array_equal(slots, np.arange(channels))


def test_channels_lie_in_the_slots_of_their_group() -> None:
    spread = Blocking(10, 2).spread(np.arange(10) + 1, fill=-1)
    np.testing.assert_array_equal(spread[:5], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(spread[32:37], [6, 7, 8, 9, 10])
    assert np.count_nonzero(spread == -1) == 64 - 10


@pytest.mark.parametrize("shape", [(2, 2, 3, 66), (1, 2, 3, 66), (2, 1, 1, 66), (1, 1, 1, 1)])
@pytest.mark.parametrize("missing", [None, 7.0])
def test_slots_read_their_channel(
    shape: tuple[int, ...], missing: float | None, rng: np.random.Generator
) -> None:
    """Extents of 1 are read everywhere; slots without a channel read what is missing."""
    blocking = Blocking(66, 2)
    values = rng.standard_normal(shape).astype(np.float32)
    x = placeholder("x", values)
    fill = None if missing is None else tirx.const(missing, "float32")
    out = stage("out", blocking.shape(2, 2, 3), lambda at: blocking.read(x, at, fill))
    empty = np.zeros((2, 2, 3, 2, 2, 32), np.float32)
    made = call(te.create_prim_func([x, out]), [values, empty])[-1]
    full = np.broadcast_to(values, (2, 2, 3, 66))
    expected = blocking.spread(full, 0 if missing is None else missing)
    if shape[3] == 1:
        expected = np.broadcast_to(values, (2, 2, 3, blocking.slots))
    np.testing.assert_array_equal(made.reshape(expected.shape), expected)


def test_every_slot_has_its_number() -> None:
    blocking = Blocking(66, 2)
    out = stage("out", blocking.shape(1, 1, 1), blocking.slot, "code")
    made = call(te.create_prim_func([out]), [np.zeros((1, 1, 1, 2, 2, 32), np.int32)])[-1]
    np.testing.assert_array_equal(made.reshape(-1), np.arange(128))
    assert out.op.attrs[ROLE] == "code"
