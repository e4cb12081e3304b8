"""Climbing from the best measured choice to its neighbours, until none is left."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest

from abc_tvm.records.task import Task
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import load
from abc_tvm.tuning.search import BEST_TILES, Climbing, make_search, next_choice, settled


@pytest.fixture
def task(tasks: list[Task]) -> Task:
    return next(t for t in tasks if t.workload.problem.kind == "bitserial")


def test_tiles_by_rank_come_first(task: Task) -> None:
    seen: dict[Choice, float] = {}
    wanted = list(dict.fromkeys([task.default, *task.space.first(BEST_TILES)]))
    for choice in wanted:
        assert next_choice(task.space, seen, 0) == choice
        seen[choice] = 1.0


def test_then_a_neighbour_of_the_best(task: Task) -> None:
    first = list(dict.fromkeys([task.default, *task.space.first(BEST_TILES)]))
    seen = dict.fromkeys(first, 2.0)
    best = first[-1]
    seen[best] = 1.0
    found = next_choice(task.space, seen, 0)
    assert found is not None and found not in seen
    assert found in set(task.space.neighbours(best))
    assert next_choice(task.space, seen, 0) == found, "the arguments alone decide"


def test_it_ends_near_the_best_points(task: Task) -> None:
    seen: dict[Choice, float] = {}
    while (choice := next_choice(task.space, seen, 0)) is not None:
        assert choice not in seen
        seen[choice] = 1.0
        if len(seen) > 40:
            return
    assert seen


def test_nothing_worked(task: Task) -> None:
    first = [task.default, *task.space.first(BEST_TILES)]
    assert next_choice(task.space, dict.fromkeys(first, float("inf")), 0) is None


def test_what_is_under_way_is_not_proposed(task: Task) -> None:
    climbing = Climbing(0)
    climbing.learn(task.space, {})
    first = climbing.next(task.space, {})
    second = climbing.next(task.space, {}, [task.default])
    assert first == task.default != second


@pytest.mark.parametrize(
    ("times", "patience", "wanted"),
    [
        ([], 2, False),
        ([1.0, 2.0], 2, False),
        ([1.0, 2.0, 3.0], 2, True),
        ([1.0, 2.0, 0.9], 2, False),
        ([1.0, 2.0, 0.999], 2, True),
        ([2.0, 1.0, 1.0], 1, True),
    ],
)
def test_settled(times: list[float], patience: int, wanted: bool) -> None:
    assert settled(times, patience) == wanted


def test_which_search(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, processor = load("cuda-sm80"), load("zen4")
    assert isinstance(make_search(0, gpu), Climbing)
    find: Any = importlib.util.find_spec
    hidden = {"xgboost"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
    )
    assert isinstance(make_search(0, processor), Climbing)
    hidden.clear()
    if find("xgboost") is not None:
        assert not isinstance(make_search(0, replace(processor, name="other")), Climbing)
