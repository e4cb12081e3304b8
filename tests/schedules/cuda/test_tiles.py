from __future__ import annotations

from typing import Any, Literal

import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.cuda.tiles import BlockTile, candidates, choose, clocks
from abc_tvm.schedules.problem import Problem
from abc_tvm.targets import load

RESNET = [(56, 64), (28, 128), (14, 256), (7, 512)]
NAMES = ["cuda-sm75", "cuda-sm80", "cuda-sm86", "cuda-sm89", "cuda-sm90"]


def problem(
    size: int,
    channels: int,
    m: int = 1,
    p: int = 1,
    batch: Any = 1,
    kind: Literal["bitserial", "float"] = "bitserial",
) -> Problem:
    window = Window(batch, size, size, channels, channels, (3, 3), padding=(1, 1, 1, 1))
    return Problem(window, Blocking(channels), m * p, kind, m)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "channels"), RESNET)
@pytest.mark.parametrize(("m", "p"), [(1, 1), (3, 3), (5, 5), (8, 8)])
def test_every_candidate_fits_and_divides(
    name: str, size: int, channels: int, m: int, p: int
) -> None:
    device = load(name)
    asked = problem(size, channels, m, p)
    found = list(candidates(device, asked))
    assert found
    assert device.gpu is not None
    for tile in found:
        assert tile.shared_bytes(m, p) <= device.gpu.block_shared_kib * 1024
        assert asked.blocking.blocks % tile.block_blocks == 0
        assert tile.threads <= 256
        assert tile.unit == "cores" or tile.pixels % 2 == 0
    assert choose(device, asked) in found


def test_shared_memory_is_counted_as_the_kernel_declares_it() -> None:
    """Two buffers of 12 words a pixel and plane, and of 256 words a lane block and plane."""
    assert BlockTile(4, 2, 2, 2).shared_bytes(3, 5) == 2 * 4 * (64 * 5 * 12 + 4 * 256 * 3)
    assert BlockTile(4, 2, 2, 2, rounds=3).shared_bytes(3, 5) == 2 * 4 * (64 * 5 * 12 + 4 * 256)


@pytest.mark.parametrize(("m", "p"), [(3, 3), (5, 5), (8, 8), (8, 1)])
def test_sums_stay_in_registers_or_come_in_rounds(m: int, p: int) -> None:
    """64 sums a lane; what a single pair of pixels needs for one weight plane is the exception."""
    for tile in candidates(load("cuda-sm80"), problem(14, 256, m, p)):
        sums = 8 * tile.pixels * tile.blocks * (m // tile.rounds) * p
        assert sums <= 64 or (tile.rounds == m and tile.pixels * tile.blocks <= 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "channels"), RESNET)
def test_tensor_cores_for_large_batches_of_bits(name: str, size: int, channels: int) -> None:
    assert choose(load(name), problem(size, channels, batch=64)).unit == "tensor"


def test_floats_have_ordinary_cores_alone() -> None:
    found = candidates(load("cuda-sm80"), problem(14, 256, kind="float"))
    assert {tile.unit for tile in found} == {"cores"}


def test_small_images_get_small_tiles() -> None:
    """One image of 7x7 keeps more multiprocessors busy in small tiles."""
    device = load("cuda-sm80")
    one, many = (choose(device, problem(7, 512, batch=n)) for n in (1, 256))
    size = [t.block_pixels * t.block_blocks for t in (one, many)]
    assert size[0] < size[1]


def test_an_open_batch_counts_as_many_images() -> None:
    device, tile = load("cuda-sm80"), BlockTile(2, 1, 4, 1, "tensor")
    times = [clocks(device, problem(28, 128, batch=n), tile) for n in ("open", 32, 64)]
    assert times[0] == times[1] < times[2]
