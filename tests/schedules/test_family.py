"""What a family must say, and what it need not."""

from __future__ import annotations

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.cuda.space import CudaChoice
from abc_tvm.schedules.family import Family, Plan
from abc_tvm.schedules.plain import Plain
from abc_tvm.schedules.problem import SUMS, Problem
from abc_tvm.targets import load

BITSERIAL, *_ = SUMS


PROBLEM = Problem(Window(1, 4, 4, 32, 32), Blocking(32), 1, BITSERIAL)


def test_a_family_that_says_the_least_has_nothing_to_tune() -> None:
    family = Plain()
    assert (family.code, family.gpu, family.tunable, family.described) == (None,) + (False,) * 3
    assert family.choices is Choice
    assert family.space(load("zen4"), PROBLEM, 2) is None


@pytest.mark.parametrize("method", ["default", "sums", "schedule", "rest"])
def test_what_a_family_must_say(method: str) -> None:
    said = {name: value for name, value in vars(Plain).items() if name != method}
    unfinished = type("Unfinished", (Family,), said)
    with pytest.raises(TypeError, match=f"abstract method.*{method}"):
        unfinished()


def test_a_plans_tile_is_its_choices() -> None:
    tile = Tile(2, 3)
    assert Plan(load("zen4"), PROBLEM, Choice(tile)).tile is tile
    assert Plan(load("cuda-sm80"), PROBLEM, CudaChoice()).tile == Tile()


def test_equal_plans_are_one() -> None:
    """So that what is made for one may be kept for the other."""
    plans = [Plan(load("zen4"), PROBLEM, Choice(Tile(1, 7))) for _ in range(2)]
    assert plans[0] == plans[1] != Plan(load("zen4"), PROBLEM, Choice())
