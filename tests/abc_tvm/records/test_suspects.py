"""A candidate that a device died at is remembered, tried once more, last, and then given up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import DeviceError, RecordsError
from abc_tvm.records.database import SUSPECTS, Database
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.suspects import Suspect, deaths
from abc_tvm.records.task import Task
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from abc_tvm.tuning import maintain, tuner
from abc_tvm.tuning import tune as module
from abc_tvm.tuning.tuner import Budget, Tuner
from abc_tvm.tuning.workers.fleet import FleetRunner
from abc_tvm.tuning.workers.runner import Job, JobOutcome, MeasuringMachine
from tests.abc_tvm.remote import servers
from tests.abc_tvm.tuning.crashing import BAD, CRASHING

TRIALS = 4
LIMIT_S = 5


class Fragile:
    """A runner of one device that a ``deadly`` choice kills; ``jobs`` are what it was given."""

    slots = 1

    def __init__(self, database: Database, deadly: tuple[str, Choice] | None) -> None:
        self.machines = [MeasuringMachine("one")]
        self.jobs: list[Job] = []
        self._database, self._deadly = database, deadly

    def __enter__(self) -> Fragile:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self) -> list[JobOutcome]:
        job = self.jobs[-1]
        if len(job.deaths) >= 2:
            return [JobOutcome(job, "one", failure=f"2 devices died at it: {job.deaths[-1]}")]
        if self._deadly in [(job.workload, choice) for choice in job.choices]:
            self._database.add_suspect(death(job.workload, *job.choices))
            raise DeviceError("no device is left")
        times = tuple((1e-6 + n * 1e-7,) * job.rounds for n, _ in enumerate(job.choices))
        return [JobOutcome(job, "one", times)]


def death(workload: str, *choices: Choice, when: float = 1.5) -> Suspect:
    return Suspect(workload, choices, "one", "hung up", when)


@pytest.fixture
def folder(tmp_path: Path, device: Device) -> Path:
    return tmp_path / folder_name(device)


def run(
    folder: Path, tasks: list[Task], device: Device, deadly: tuple[str, Choice] | None = None
) -> list[Job]:
    """One run on a folder; what was measured, in order. Raises ``DeviceError``."""
    with Database(folder) as database:
        runner = Fragile(database, deadly)
        Tuner(tasks, device, database, Budget(TRIALS), runner).run()
        return runner.jobs


def jobs_of(task: Task, jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if job.workload == task.key]


def test_a_suspect_is_tried_last_and_given_up_at_the_second_death(
    folder: Path, tasks: list[Task], device: Device
) -> None:
    usual = run(folder.with_name("usual"), tasks, device)
    task = next(t for t in tasks if t.macs)
    deadly = jobs_of(task, usual)[1].choices[0]
    with pytest.raises(DeviceError):
        run(folder, tasks, device, (task.key, deadly))
    (first,) = Database(folder).read().suspects
    assert (first.workload, first.choices) == (task.key, (deadly,))

    with pytest.raises(DeviceError):
        run(folder, tasks, device, (task.key, deadly))
    database = Database(folder).read()
    assert deaths(database.suspects, task.key, (deadly,)) == ("hung up",) * 2
    # Nothing but the suspect and its layer's last comparison is left.
    measured = {t.key: {r.choice for r in database.records if r.workload == t.key} for t in tasks}
    wanted = {t.key: TRIALS - (t is task) for t in tasks}
    assert {key: len(choices) for key, choices in measured.items()} == wanted
    assert deadly not in measured[task.key]

    jobs = run(folder, tasks, device, (task.key, deadly))
    assert jobs[0].choices == (deadly,) and len(jobs) == 2
    failed = [r for r in Database(folder).read().records if r.failed]
    assert [(r.workload, r.choice) for r in failed] == [(task.key, deadly)]
    assert run(folder, tasks, device, (task.key, deadly)) == []


def test_a_device_that_was_switched_off_condemns_nothing(
    folder: Path, tasks: list[Task], device: Device
) -> None:
    usual = run(folder.with_name("usual"), tasks, device)
    task = next(t for t in tasks if t.macs)
    good = jobs_of(task, usual)[1].choices[0]
    with Database(folder) as database:
        for innocent in (good, task.default, task.default):
            database.add_suspect(death(task.key, innocent))
    jobs = run(folder, tasks, device)
    mine = jobs_of(task, jobs)
    assert [len(job.choices) for job in mine] == [1] * TRIALS + [3]
    assert mine[-2].choices == (good,) and mine[-2].deaths == ("hung up",)
    assert jobs.index(mine[-2]) > max(jobs.index(job) for job in jobs if job not in mine)
    assert mine[0].choices == (task.default,) and mine[0].deaths == ()
    assert not any(record.failed for record in Database(folder).read().records)


def test_finalists_that_devices_died_at_leave_the_default(
    folder: Path, tasks: list[Task], device: Device
) -> None:
    usual = run(folder.with_name("usual"), tasks[:1], device)
    with Database(folder) as database:
        for _ in range(2):
            database.add_suspect(death(tasks[0].key, *usual[-1].choices))
    jobs = run(folder, tasks[:1], device)
    assert [len(job.choices) for job in jobs] == [1] * TRIALS + [3, 1]
    assert jobs[-1].choices == (tasks[0].default,)


def test_the_file_keeps_what_was_written(folder: Path, tasks: list[Task], device: Device) -> None:
    near = replace(tasks[0].default, tasks=3)
    written = [death("1", near), death("1", near, when=2.5), death("2", near, tasks[0].default)]
    with Database(folder) as database:
        Manifest.here(device).write(folder)
        for suspect in written:
            database.add_suspect(suspect)
    path = folder / SUSPECTS
    whole = path.read_text()
    assert whole.count("\n") == 3
    path.write_text(whole + '["3",')
    assert Database(folder).read().suspects == written
    said: list[str] = []
    with Database(folder, said.append) as database:
        assert database.suspects == written
    assert path.read_text() == whole and "torn last line" in said[0]
    for _ in range(2):
        maintain.merge([folder.parent], folder.parent / "merged", print)
    assert Database(folder.parent / "merged" / folder.name).read().suspects == written
    path.write_text(whole + '["3", [{}], "", "", 0]\n')
    with pytest.raises(RecordsError, match=rf"{SUSPECTS}, line 4: damaged"):
        Database(folder).read()


class Deadly:
    """A search that proposes a candidate which ends the device, and then harmless ones."""

    def learn(self, *_: object) -> None:
        return

    def next(self, space: Any, seen: Any, pending: Any = ()) -> Choice | None:
        deadly = replace(space.default(), tasks=BAD["device"])
        for choice in (deadly, *space.neighbours(space.default())):
            if choice not in seen and choice not in pending:
                return choice
        return None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Any]:
    """``place()`` is the address of a server; the one before has been ended."""
    started: list[Any] = []

    def start() -> str:
        end()
        started.append(servers.server(tmp_path))
        place, group, _ = started[-1].__enter__()
        started[-1] = (started[-1], group)
        return str(place)

    def end() -> None:
        for context, group in started:
            os.killpg(group, signal.SIGKILL)
            context.__exit__(None, None, None)
        started.clear()

    yield start
    end()


@pytest.mark.slow
def test_the_only_device_dies_at_a_candidate(
    model: Path,
    device: Device,
    folder: Path,
    place: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tornado", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")
    monkeypatch.setattr(module, "FleetRunner", partial(FleetRunner, builder=CRASHING))
    monkeypatch.setattr(tuner, "make_search", lambda *_: Deadly())
    settings = {
        "trials": 2, "seconds": None, "seed": 0, "threads": 1, "batch": None,
        "lowering": "bitserial", "rpc_timeout": LIMIT_S,
    }  # fmt: skip

    def tune() -> None:
        options = settings | {"rpc": place()}
        with module.tuner(str(model), device, folder.parent, options, tell=print) as tuning:
            # One layer: each of them would need two devices.
            tuning.rows = [row for row in tuning.rows if row.task.macs][:1]
            tuning.run()

    for lost in (1, 2):
        with pytest.raises(DeviceError, match="no device is left"):
            tune()
        assert len(Database(folder).read().suspects) == lost
    tune()
    database = Database(folder).read()
    assert [r.choice.tasks for r in database.records if r.failed] == [BAD["device"]]
    assert len(database.suspects) == 2
