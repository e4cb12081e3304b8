"""Which task next, what is recorded, and when a choice replaces the default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.records.database import Database
from abc_tvm.records.manifest import folder_name
from abc_tvm.records.records import FINAL_ROUNDS
from abc_tvm.records.task import Task
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from abc_tvm.tuning.tuner import NOISE, ROUNDS, Budget, Progress, Tuner
from abc_tvm.tuning.workers.runner import Job, JobOutcome, MeasuringMachine

Cost = Callable[[Job, Choice], float | None]
"""Seconds of a choice; ``None``: it fails."""


class Table:
    """A runner that looks the times up; ``jobs`` are what it was given."""

    slots = 1

    def __init__(self, cost: Cost) -> None:
        self.machines = [MeasuringMachine("one")]
        self.jobs: list[Job] = []
        self._cost = cost

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self) -> list[JobOutcome]:
        job = self.jobs[-1]
        times = [self._cost(job, choice) for choice in job.choices]
        if None in times:
            return [JobOutcome(job, "one", failure="crashed")]
        return [JobOutcome(job, "one", tuple((t,) * job.rounds for t in times if t is not None))]


@pytest.fixture
def task(tasks: list[Task]) -> Task:
    return next(t for t in tasks if t.workload.problem.kind == "bitserial")


def tuned(
    folder: Path, tasks: list[Task], device: Device, cost: Cost, **budget: Any
) -> tuple[Tuner, list[Job]]:
    with Database(folder / folder_name(device)) as database:
        runner = Table(cost)
        tuner = Tuner(tasks, device, database, Budget(**{"trials": 5, **budget}), runner)
        tuner.run()
        return tuner, runner.jobs


def constant(job: Job, choice: Choice) -> float:
    return 1e-6


def test_the_default_is_measured_first_and_last(
    tmp_path: Path, tasks: list[Task], device: Device
) -> None:
    tuner, jobs = tuned(tmp_path, tasks, device, constant)
    first = jobs[: len(tasks)]
    assert [job.choices for job in first] == [(task.default,) for task in tasks]
    assert {job.rounds for job in jobs} == {ROUNDS, FINAL_ROUNDS}
    finals = [job for job in jobs if job.rounds == FINAL_ROUNDS]
    assert {job.choices[0] for job in finals} == {task.default for task in tasks}
    assert len(finals) == len(tasks) and all(row.done for row in tuner.rows)


def test_a_clear_winner_replaces_the_default(tmp_path: Path, task: Task, device: Device) -> None:
    def cost(job: Job, choice: Choice) -> float:
        return 1e-6 if choice == task.default else 0.5e-6

    (row,) = tuned(tmp_path, [task], device, cost)[0].rows
    assert row.winner not in (None, task.default)
    assert (row.before, row.after) == (1e-6, 0.5e-6)


def test_noise_does_not(tmp_path: Path, task: Task, device: Device) -> None:
    def cost(job: Job, choice: Choice) -> float:
        return 1e-6 if choice == task.default else 1e-6 * (1 - NOISE / 2)

    (row,) = tuned(tmp_path, [task], device, cost)[0].rows
    assert row.winner == task.default and row.before == row.after


def test_a_run_goes_on_where_it_was(tmp_path: Path, task: Task, device: Device) -> None:
    _, first = tuned(tmp_path, [task], device, constant, trials=3)
    tuner, second = tuned(tmp_path, [task], device, constant, trials=3)
    assert first and second == []
    (row,) = tuner.rows
    assert row.done and row.left == 0 and row.winner == task.default
    _, third = tuned(tmp_path, [task], device, constant, trials=5)
    asked = {choice for job in first for choice in job.choices}
    fresh = [job.choices[0] for job in third if job.rounds == ROUNDS]
    assert len(fresh) == 2 and not asked & set(fresh)


def test_a_candidate_that_fails_is_recorded(tmp_path: Path, task: Task, device: Device) -> None:
    def cost(job: Job, choice: Choice) -> float | None:
        return 1e-6 if choice == task.default else None

    tuner, jobs = tuned(tmp_path, [task], device, cost)
    (row,) = tuner.rows
    assert row.winner == task.default and row.best == 1e-6
    records = Database(tmp_path / folder_name(device)).read().records
    assert sum(record.failed for record in records) == 4
    assert jobs[-1].choices == (task.default,)


def test_finalists_that_fail_leave_the_default(tmp_path: Path, task: Task, device: Device) -> None:
    def cost(job: Job, choice: Choice) -> float | None:
        return None if len(job.choices) > 1 else 1e-6

    tuner, jobs = tuned(tmp_path, [task], device, cost)
    assert [len(job.choices) for job in jobs[-2:]] == [3, 1]
    assert tuner.rows[0].winner == task.default


def test_a_default_that_fails_is_the_targets_fault(
    tmp_path: Path, task: Task, device: Device
) -> None:
    with pytest.raises(TargetError, match="its default schedule does not work on one: crashed; do"):
        tuned(tmp_path, [task], device, lambda job, choice: None)


def test_it_stops_where_nothing_is_gained(tmp_path: Path, task: Task, device: Device) -> None:
    tuner, jobs = tuned(tmp_path, [task], device, constant, trials=40, patience=3)
    assert tuner.rows[0].note == "no gain any more"
    assert len(jobs) == 5, "the default, three without a gain, and the final"
    tuner, jobs = tuned(tmp_path / "late", [task], device, constant, seconds=0.0)
    assert tuner.out_of_time() and [job.rounds for job in jobs] == [ROUNDS, FINAL_ROUNDS]


def test_progress(task: Task) -> None:
    row = Progress(task, 5)
    assert (row.best, row.left, row.gmacs()) == (None, 5, None)
    row.seen = {task.default: 2e-6}
    assert row.best == 2e-6 and row.left == 4
    assert row.gmacs() == pytest.approx(task.macs / 2e-6 / 1e9)
    row.after, row.done = 1e-6, True
    assert row.best == 1e-6 and row.left == 0
