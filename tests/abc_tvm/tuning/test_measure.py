from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.records.task import Task, load_layer, save_layer
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from abc_tvm.tuning import measure
from abc_tvm.tuning.measure import Bench, WrongResult
from abc_tvm.tuning.search import next_choice


def test_every_choice_computes_the_same(tasks: list[Task], device: Device) -> None:
    """All neighbours of the default, and what the search would measure first."""
    for task in tasks:
        bench = Bench(task, device)
        choices = {task.default: 0.0, **dict.fromkeys(task.space.neighbours(task.default), 1.0)}
        assert len(choices) >= (4 if task.space.problem.kind == "lanes" else 8)
        for choice in choices:
            assert min(bench.build(choice).seconds()) > 0, choice


def test_a_wrong_result_is_seen(
    tasks: list[Task], device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(next(t for t in tasks if t.workload.problem.kind == "bitserial"), device)
    assert all(len(np.unique(result)) > 1 for result in bench.expected())
    right = measure.operands

    def changed(lowered: Lowered, window: Window) -> list[np.ndarray]:
        made = right(lowered, window)
        made[0] = made[0] ^ 1
        return made

    monkeypatch.setattr(measure, "operands", changed)
    with pytest.raises(WrongResult, match="elements of result 0 differ"):
        bench.build(bench.task.default)


def path(task: Task, seed: int, most: int) -> list[Choice]:
    """What the search measures of a task, were small tiles always slower."""
    seen: dict[Choice, float] = {}
    while len(seen) < most and (choice := next_choice(task.space, seen, seed)) is not None:
        seen[choice] = 1.0 / choice.tile.columns
    return list(seen)


def test_the_search_repeats_itself(tasks: list[Task]) -> None:
    task = next(t for t in tasks if t.workload.problem.kind == "bitserial")
    once = path(task, 0, 60)
    assert once[0] == task.default
    assert len(once) == len(set(once)) == 60
    assert once == path(task, 0, 60) != path(task, 1, 60)


def test_the_search_ends_with_the_space(tasks: list[Task]) -> None:
    small = next(t for t in tasks if t.workload.problem.kind == "lanes")
    points = set(small.space.points())
    assert set(path(small, 0, 1000)) == points and len(points) < 20


def test_a_layer_comes_back_from_the_disk(
    tasks: list[Task], device: Device, tmp_path: Path
) -> None:
    folder = tmp_path
    save_layer(folder, tasks[0])
    found = load_layer(folder, tasks[0].key, device)
    assert found is not None and found.key == tasks[0].key and found.names == tasks[0].names
    assert min(Bench(found, device).build(found.default).seconds()) > 0
    assert load_layer(folder, "0", device) is None
