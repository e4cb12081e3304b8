"""Packed weights, unpacked bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.compute.lanes import Blocking
from abc_tvm.relay_passes.lowerings.packing import pack_channels, pack_planes, pack_weights

CHANNELS = [1, 7, 31, 32, 33, 64, 65]


def slots(blocking: Blocking, channel: int) -> tuple[int, int]:
    """Row and lane of an output channel."""
    group, rest = divmod(channel, blocking.group_channels)
    block, lane = divmod(rest, blocking.lanes)
    return group * blocking.blocks + block, lane


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("out_channels", "groups"), [(5, 1), (33, 1), (6, 2), (66, 2)])
def test_planes(channels: int, out_channels: int, groups: int) -> None:
    rng = np.random.default_rng(channels)
    planes = np.where(rng.random((2, out_channels, 2, 3, channels)) < 0.5, -1, 1).astype(np.int8)
    window = Window(1, 4, 4, channels * groups, out_channels, (2, 3), groups=groups)
    blocking = Blocking(out_channels, groups, WORD)
    packed = pack_planes(planes, window, blocking)
    rows = groups * blocking.blocks
    assert packed.shape == (rows, 2, 3, words(channels), 2, WORD) and packed.dtype == np.uint32
    bits = (packed[..., None] >> np.arange(WORD, dtype=np.uint32)) & 1
    found = np.zeros_like(planes)
    for oc in range(out_channels):
        row, lane = slots(blocking, oc)
        for c in range(channels):
            found[:, oc, :, :, c] = np.moveaxis(
                bits[row, :, :, c // WORD, :, lane, c % WORD], -1, 0
            )
    np.testing.assert_array_equal(found, planes > 0)
    assert bits.sum() == (planes > 0).sum(), "a bit is set past the last channel"


@pytest.mark.parametrize(("out_channels", "groups"), [(5, 1), (33, 1), (64, 1), (6, 2), (66, 2)])
def test_weights(out_channels: int, groups: int) -> None:
    weight = np.random.default_rng(1).normal(size=(out_channels, 2, 3, 4)).astype(np.float32)
    blocking = Blocking(out_channels, groups, WORD)
    packed = pack_weights(weight, blocking)
    assert packed.shape == (groups * blocking.blocks, 2, 3, 4, WORD)
    for oc in range(out_channels):
        row, lane = slots(blocking, oc)
        np.testing.assert_array_equal(packed[row, ..., lane], weight[oc])
    np.testing.assert_allclose(np.abs(packed).sum(), np.abs(weight).sum(), rtol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (31, 1), (33, 1), (64, 2), (66, 2)])
def test_channels(channels: int, groups: int) -> None:
    flags = np.random.default_rng(channels).random(channels) < 0.5
    blocking = Blocking(channels, groups, WORD)
    packed = pack_channels(flags, blocking)
    assert packed.shape == (groups, blocking.blocks) and packed.dtype == np.uint32
    flat = packed.reshape(-1)
    for c, flag in enumerate(flags):
        row, lane = slots(blocking, c)
        assert bool((flat[row] >> lane) & 1) == bool(flag)
    assert sum(int(word).bit_count() for word in flat) == flags.sum()
