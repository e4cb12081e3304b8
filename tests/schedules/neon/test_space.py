"""The space of AArch64: it begins with the default, and each of its points can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.records.task import Task
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.processor.space import ProcessorSpace
from abc_tvm.targets import load
from abc_tvm.tuning.measure import operands, shapes
from abc_tvm.tuning.network import tasks_of
from tests import emulated
from tests.abc_tvm.small_networks import network, write

TARGETS = ["rpi3", "rpi4", "rpi5"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("neon") / "m.onnx", network(dims=(1, 8, 5, 7)))


def tasks(model: Path, target: str, lowering: str) -> list[Task]:
    found = tasks_of(str(model), load(target), lowering=lowering)
    return [task for task in found if task.workload.problem.kind != "lanes"]


def tiles(task: Task) -> list[Tile]:
    assert isinstance(task.space, ProcessorSpace)
    return task.space.tiles()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("lowering", ["bitserial", "float"])
def test_it_begins_with_the_default(model: Path, target: str, lowering: str) -> None:
    device = load(target)
    assert family_of(device).tunable
    for task in tasks(model, target, lowering):
        default = family_of(device).default(device, task.workload.problem)
        assert task.default == default == Choice(default.tile)
        assert tiles(task)[0] == default.tile
        near = list(task.space.neighbours(task.default))
        assert len(near) >= 4 and task.default not in near
        assert {choice.tile for choice in near} <= set(tiles(task))


def test_all_tiles_can_be_reached(model: Path) -> None:
    for task in tasks(model, "rpi4", "bitserial"):
        reached, fresh = {task.default}, [task.default]
        while fresh:
            found = {c for choice in fresh for c in task.space.neighbours(choice)} - reached
            reached |= found
            fresh = list(found)
        assert {choice.tile for choice in reached} == set(tiles(task))


@pytest.mark.parametrize("lowering", ["bitserial", "float"])
def test_choices_compute_what_the_plain_loops_do(model: Path, lowering: str) -> None:
    device = load("rpi4")
    emulated.need(device.triple)
    task = tasks(model, "rpi4", lowering)[0]
    window = task.workload.problem.window

    def results(lowered: Lowered) -> list[bytes]:
        found = emulated.call(lowered.func, operands(lowered, window), device)
        return [array.tobytes() for array in found[-len(shapes(lowered)) :]]

    wanted = results(task.workload.plain)
    choices = [task.default, *task.space.neighbours(task.default)]
    for choice in choices[:6]:
        assert results(task.workload.lowered(device, choice)) == wanted, choice
