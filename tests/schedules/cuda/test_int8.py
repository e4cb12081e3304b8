"""Convolutions on bytes as CUDA kernels, against NumPy: tensor cores of both kinds, and dp4a."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.cuda.tiles import BlockTile
from tests.schedules.cuda.cases import device_of, kernels, run_on
from tests.schedules.int8_cases import CASES, check

pytestmark = pytest.mark.usefixtures("cuda_emulation")

CORES, TENSOR = BlockTile(2, 1, 2, 1, "cores"), BlockTile(2, 1, 2, 1, "tensor")
WIDE = {"size": (7, 5), "channels": (96, 128), "kernel": (3, 3), "padding": (1, 1, 1, 1)}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    ("name", "tile"),
    [("cuda-sm75", TENSOR), ("cuda-sm80", TENSOR), ("cuda-sm80", CORES), ("cuda-sm90", None)],
    ids=["k16", "k32", "dp4a", "default"],
)
def test_byte_convolution(
    case: dict[str, Any], name: str, tile: BlockTile | None, rng: np.random.Generator
) -> None:
    made = kernels(tile, name)
    check(case, device_of(made), rng, run_on(made), made)


@pytest.mark.parametrize(
    "tile",
    [
        BlockTile(4, 2, 1, 2, "cores"),
        BlockTile(1, 4, 8, 1, "cores"),
        BlockTile(4, 1, 2, 2, "tensor"),
        BlockTile(2, 4, 8, 1, "tensor"),
    ],
    ids=str,
)
def test_tiles_of_several_warps_and_blocks(tile: BlockTile, rng: np.random.Generator) -> None:
    made = kernels(tile)
    check({**WIDE, "batch": 3}, device_of(made), rng, run_on(made), made)


def test_one_wrong_weight_is_seen(rng: np.random.Generator) -> None:
    """The comparison itself: a kernel on other weights fails it."""
    made = kernels(TENSOR)
    run = run_on(made)

    def spoilt(func: Any, arguments: list[np.ndarray]) -> list[np.ndarray]:
        weights = arguments[1].copy()
        weights.reshape(-1)[5] ^= 1
        return run(func, [arguments[0], weights, *arguments[2:]])

    with pytest.raises(AssertionError):
        check(WIDE, device_of(made), rng, spoilt, made)


def test_codes_of_zero_that_are_not_zero_are_refused() -> None:
    made = kernels()
    plan = made.plan(Window(1, 7, 7, 64, 64, (3, 3)), Blocking(64), 1, "int8")
    with pytest.raises(ValueError, match="must be 0 on a GPU"):
        made.family.sums(plan, None, np.zeros(1, np.int8), lambda array, name: None, 7)
