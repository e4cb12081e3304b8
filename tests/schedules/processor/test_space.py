"""Points of the search space compute what NumPy says, whatever they change."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.problem import Kind, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.space import ProcessorSpace
from abc_tvm.targets import Device, load
from tests import emulated
from tests.schedules.processor.cases import sums_of
from tests.schedules.window_cases import GEOMETRIES, BitCase, all_outputs, bit_case

SEVERAL = [geometry for geometry, _ in GEOMETRIES if geometry.get("M", 1) > 1]
DEVICES = ["zen4", "haswell", "rpi3", "rpi5", "rpi-armv7"]


def problem_of(case: BitCase) -> Problem:
    bases, planes = len(case.weights), case.activations.shape[3]
    return Problem(case.window, case.blocking, bases * planes, "bitserial", bases)


def processor(device: Device) -> Processor:
    family = family_of(device)
    assert isinstance(family, Processor)
    return family


def space_of(device: Device, case: BitCase, threads: int = 2) -> ProcessorSpace:
    return processor(device).space(device, problem_of(case), threads)


def check(device: Device, case: BitCase, choice: Choice) -> None:
    plan = Plan(device, problem_of(case), choice)
    kernel = all_outputs(case, case.window, sums_of(plan))
    func = family_of(device).schedule(plan, kernel.func(True))
    if device.runs_here():
        kernel.check(func, cpu=device.cpu)
    else:
        kernel.check(func, run=partial(emulated.call, device=device))


def covering(space: ProcessorSpace, count: int) -> list[Choice]:
    """Random points until every value of every knob and tile field was there, or ``count``."""
    points = list(space.points())
    random.Random(1).shuffle(points)
    seen: set[tuple[str, Any]] = set()
    found = []
    for point in points:
        words = {(name, word) for name, word in point.words().items()}
        if not words <= seen:
            seen |= words
            found.append(point)
    return found[:count]


@pytest.mark.sweep("number", short=[0, 1], full=list(range(len(SEVERAL))))
@pytest.mark.parametrize("name", ["native", "haswell"])
def test_points_equal_numpy(name: str, number: int, sweep: Any) -> None:
    device = load(name)
    if not device.runs_here():
        pytest.skip(f"this machine does not run code for {name}")
    case = bit_case(number, **SEVERAL[number])
    for choice in covering(space_of(device, case), sweep(8, 60)):
        check(device, case, choice)


@pytest.mark.parametrize("name", ["rpi3", "rpi5", "rpi-armv7"])
def test_points_equal_numpy_on_arm(name: str, sweep: Any) -> None:
    device = load(name)
    emulated.need(device.triple)
    case = bit_case(3, size=(5, 6), channels=(40, 70), kernel=(3, 3), padding=(1, 1, 1, 1), M=2)
    for choice in covering(space_of(device, case), sweep(4, 40)):
        check(device, case, choice)


@pytest.mark.parametrize("planes", ["inside", "weights", "activations", "outside"])
@pytest.mark.parametrize("count", ["popcount", "nibble"])
def test_every_way_through_the_planes(planes: Any, count: Any) -> None:
    device = load("native")
    if not load("haswell").runs_here():
        pytest.skip("needs a processor with AVX2")
    case = bit_case(
        2, size=(5, 5), channels=(33, 64), kernel=(3, 3), padding=(1, 1, 1, 1), M=2, P=3
    )
    choice = Choice(Tile(1, 3, 1, planes=planes), count, unroll=2, cut="columns")
    check(device, case, choice)
    check(device, case, replace(choice, tile=replace(choice.tile, parts=1), taps="all"))


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("kind", ["bitserial", "float", "lanes"])
def test_the_default_is_what_is_compiled_without_records(name: str, kind: Kind) -> None:
    device = load(name)
    window = Window(1, 14, 14, 64, 96, (3, 3), (1, 1), (1, 1, 1, 1))
    pairs, bases = (6, 2) if kind == "bitserial" else (1, 1)
    problem = Problem(window, Blocking(96), pairs, kind, bases)
    space = processor(device).space(device, problem, 1)
    points = list(space.points())
    assert points[0] == space.default()
    assert len(points) == len(set(points)) >= 8
    assert all(choice in points for choice in space.neighbours(space.default()))
    assert family_of(device).default(device, problem) == space.default()
    if kind != "lanes":
        assert space.default().tile == processor(device).nest(kind).tile(device, problem)
