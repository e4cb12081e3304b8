"""The learned search: never twice, better than chance on what it was told, the same by seed."""

from __future__ import annotations

import pytest

pytest.importorskip("xgboost", reason="needs the extra [tune]")

from abc_tvm.records.task import Task
from abc_tvm.schedules.choice import Choice
from abc_tvm.tuning.learned import FIRST, Learned
from abc_tvm.tuning.search import next_choice


@pytest.fixture
def task(tasks: list[Task]) -> Task:
    return next(t for t in tasks if t.workload.problem.kind == "bitserial")


def test_another_seed_is_another_path(tasks: list[Task]) -> None:
    task = next(t for t in tasks if t.workload.problem.kind == "bitserial")

    def path(seed: int) -> list[Choice]:
        seen: dict[Choice, float] = {}
        learned = Learned(seed)
        for _ in range(20):
            choice = learned.next(task.space, seen)
            assert choice is not None and choice not in seen
            seen[choice] = 1e-6 * choice.tile.columns
        return list(seen)

    assert path(0) == path(0) != path(1)
    pending = [learned for learned, _ in zip(task.space.points(), range(12), strict=False)]
    assert Learned(0).next(task.space, {}, pending) not in pending
    assert next_choice(task.space, {}, 0) == path(0)[0] == task.default


def cost(choice: Choice) -> float:
    """Something to learn: few columns are slow."""
    return 1e-6 / choice.tile.columns


def test_it_begins_with_the_rule(task: Task) -> None:
    learned, seen = Learned(0), dict[Choice, float]()
    wanted = list(dict.fromkeys([task.default, *task.space.first(FIRST)]))
    for choice in wanted:
        assert learned.next(task.space, seen) == choice
        seen[choice] = 1.0


def test_it_finds_what_it_was_told_of(task: Task) -> None:
    learned, seen = Learned(0), dict[Choice, float]()
    for _ in range(30):
        choice = learned.next(task.space, seen)
        assert choice is not None
        seen[choice] = cost(choice)
    best = max(choice.tile.columns for choice in task.space.points())
    late = [choice.tile.columns for choice in list(seen)[-12:]]
    assert sum(columns == best for columns in late) >= 6


def test_what_fails_is_learned_as_slow_and_alone_teaches_nothing(task: Task) -> None:
    learned = Learned(0)
    points = list(task.space.points())[:3]
    learned.learn(task.space, dict.fromkeys(points, float("inf")))
    assert not learned._known
    learned.learn(task.space, {points[0]: 1e-6, points[1]: float("inf"), points[2]: 2e-6})
    slower = learned._known[task.space][1]
    assert slower[0] == 0 and slower[1] == slower.max() > slower[2] > 0


def test_nothing_is_left(task: Task) -> None:
    points = list(task.space.points())
    assert Learned(0).next(task.space, dict.fromkeys(points, 1.0)) is None
    assert Learned(0).next(task.space, {}, points) is None
