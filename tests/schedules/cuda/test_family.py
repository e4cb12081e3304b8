"""What the family of GPUs takes and refuses; its kernels are in ``test_program.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.errors import TargetError
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.cuda.family import CUDA
from abc_tvm.schedules.cuda.reduction import TILE, numbers_of, tile_of
from abc_tvm.schedules.cuda.space import CudaChoice
from abc_tvm.schedules.cuda.tiles import BlockTile, choose
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.problem import POOLS, SUMS, Kind, Problem
from abc_tvm.targets import load
from tests.schedules.window_cases import placeholder

DEVICE = load("cuda-sm80")


def problem_of(kind: Kind, m: int = 1, p: int = 1) -> Problem:
    return Problem(Window(1, 7, 7, 64, 64, (3, 3)), Blocking(64), m * p, kind, m)


@pytest.mark.parametrize("kind", SUMS)
def test_the_default_is_the_rules_tile_and_the_spaces_first(kind: Kind) -> None:
    problem = problem_of(kind)
    default = CUDA.default(DEVICE, problem)
    assert default.block == choose(DEVICE, problem)
    space = CUDA.space(DEVICE, problem, 1)
    assert space is not None and next(space.points()) == default


@pytest.mark.parametrize("kind", ["lanes", *POOLS])
def test_kernels_without_a_sum_are_the_one_of_their_kind(kind: Kind) -> None:
    assert CUDA.space(DEVICE, problem_of(kind), 1) is None
    assert CUDA.default(DEVICE, problem_of(kind)) == CudaChoice()


def packed_for(tile: BlockTile, m: int) -> tuple[list[np.ndarray], te.Tensor]:
    """The weights that a convolution on bits is given, and its sums."""
    problem = problem_of(SUMS[0], m)
    tables: list[np.ndarray] = []

    def table(array: np.ndarray, name: str) -> te.Tensor:
        tables.append(array)
        return placeholder(name, array)

    data = te.placeholder((1, 7, 7, 1, 1, 2), "uint32", name="A")
    planes = np.zeros((2, 3, 3, 2, m, 32), np.uint32)
    return tables, CUDA.sums(Plan(DEVICE, problem, CudaChoice(block=tile)), data, planes, table)


@pytest.mark.parametrize("rounds", [1, 2, 4])
@pytest.mark.parametrize("unit", ["cores", "tensor"])
def test_weights_are_packed_for_the_unit_and_its_rounds(unit: Any, rounds: int) -> None:
    tile = BlockTile(2, 1, 1, 1, unit, rounds)
    [packed], acc = packed_for(tile, 4)
    # 18 words are three steps of eight; behind fragments stand the ones of each channel.
    each = 4 // rounds
    by_unit = {
        "cores": (2, rounds, 24, each, 32),
        "tensor": (2, rounds, 24 * each * 32 + each * 32),
    }
    assert packed.shape == by_unit[unit]
    assert tile_of([int(n) for n in acc.op.attrs[TILE]]) == tile


def test_a_tile_survives_being_an_annotation() -> None:
    for tile in (BlockTile(), BlockTile(8, 2, 1, 4, "tensor", 3)):
        numbers = numbers_of(tile)
        assert all(isinstance(n, int) for n in numbers)
        assert tile_of(numbers) == tile


def test_what_is_not_a_gpus_is_refused() -> None:
    problem = problem_of(SUMS[0])
    with pytest.raises(TargetError, match="zen4: not a GPU"):
        CUDA.default(load("zen4"), problem)
    with pytest.raises(ValueError, match="not a choice for a GPU"):
        CUDA.sums(Plan(DEVICE, problem, Choice()), None, np.zeros(1), lambda array, name: None)


def test_what_depends_on_no_convolution_is_an_element_a_thread() -> None:
    x = te.placeholder((1, 2, 2, 1, 1, 32), "float32", name="x")
    out = stage("y", (1, 2, 2, 1, 1, 32), lambda at: x[at] * x[at])
    plan = Plan(DEVICE, problem_of(SUMS[0]), CudaChoice())
    text = CUDA.schedule(plan, te.create_prim_func([x, out])).script()
    assert "threadIdx.x" in text and "func_call" not in text
