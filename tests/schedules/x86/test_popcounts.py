"""Bits by popcount: which loops go first, and what a processor without vectors of them does."""

from __future__ import annotations

from typing import Any

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.problem import SUMS, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.space import ProcessorSpace
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.schedules.x86.popcounts import Popcounts
from abc_tvm.targets import Device, load
from tests.schedules.processor.cases import sums_of
from tests.schedules.window_cases import all_outputs, bit_case

BITSERIAL, *_ = SUMS


def nest_of(device: Device, kind: Any) -> Ruled:
    family = family_of(device)
    assert isinstance(family, Processor)
    nest = family.nest(kind)
    assert isinstance(nest, Ruled)
    return nest


@pytest.mark.parametrize("words", [1, 3])
def test_a_step_is_a_word_of_a_tap(words: int) -> None:
    window = Window(1, 7, 7, 32 * words * 2, 64, (3, 2), groups=2)
    problem = Problem(window, Blocking(64, 2), 1, BITSERIAL)
    assert Popcounts().steps(problem) == 6 * words


@pytest.mark.parametrize("name", ["x86-64", "haswell"])
def test_every_output_equals_numpy(name: str) -> None:
    """Without a vector popcount LLVM spells one."""
    device = load(name)
    if not device.runs_here():
        pytest.skip(f"this machine does not run code for {name}")
    case = bit_case(4, size=(5, 4), channels=(33, 70), kernel=(3, 3), padding=(1, 1, 1, 1), M=2)
    made = scheduler_of(device, Choice(Tile(2, 3, 1), "popcount", order="pixels"))
    plan = made.plan(case.window, case.blocking, 2, BITSERIAL, 2)
    kernel = all_outputs(case, case.window, sums_of(plan))
    kernel.check(made.schedule(plan, kernel.func(True)), cpu=device.cpu)


@pytest.mark.parametrize(
    ("channels", "more", "order"),
    [
        ((256, 1024), {}, "pixels"),
        ((64, 256), {}, "pixels"),
        ((1024, 256), {}, "weights"),  # much to count for an output
        ((64, 256), {"pairs": 9}, "weights"),
        ((256, 128), {}, "weights"),  # outputs lie together
        ((512, 16384), {}, "weights"),  # 1 MB of weights, read again for each row
        ((256, 1024), {"groups": 4}, "weights"),
        ((256, 1024), {"height": 1}, "weights"),
        ((256, 1024), {"name": "haswell"}, "weights"),
        ((256, 1024), {"kind": "float"}, "weights"),
    ],
)
def test_rows_of_pixels_go_first_where_outputs_are_many_and_quick(
    channels: tuple[int, int], more: dict[str, Any], order: str
) -> None:
    inputs, outputs = channels
    machine, kind = load(more.get("name", "zen5")), more.get("kind", BITSERIAL)
    groups, height = more.get("groups", 1), more.get("height", 14)
    window = Window(1, height, 14, inputs, outputs, groups=groups)
    blocking = Blocking(outputs, groups)
    problem = Problem(window, blocking, more.get("pairs", 1), kind)
    assert nest_of(machine, kind).order(machine, problem) == order
    space = family_of(machine).space(machine, problem, 1)
    assert isinstance(space, ProcessorSpace) and space.default().order == order
    if space.knobs.get("order"):
        assert space.knobs["order"][0] == order
