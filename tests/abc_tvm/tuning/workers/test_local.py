"""Candidates that crash, hang or eat memory fail alone, and no process stays behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from abc_tvm.errors import DeviceError, InputError, RecordsError
from abc_tvm.records.task import LAYERS, Task, save_layer
from abc_tvm.targets import Device
from abc_tvm.tuning.workers.local import LocalRunner
from abc_tvm.tuning.workers.runner import Job, JobOutcome, Work
from tests.abc_tvm.tuning.crashing import BAD, CRASHING
from tests.children import QUICK

SECONDS = 20


@pytest.fixture(scope="module")
def work(tasks: list[Task], device: Device, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("layers")
    for task in tasks:
        save_layer(folder, task)
    return Work(folder, device)


@pytest.fixture(scope="module")
def runner(work: Work) -> Iterator[LocalRunner]:
    with LocalRunner(work, SECONDS, CRASHING, children=1) as entered:
        yield entered


def measured(runner: LocalRunner, job: Job) -> JobOutcome:
    runner.submit(job)
    (outcome,) = runner.wait()
    assert outcome.job == job
    return outcome


def candidate(task: Task, kind: str | None = None, rounds: int = 2) -> Job:
    choice = task.default if kind is None else replace(task.default, tasks=BAD[kind])
    return Job(task.key, (choice,), rounds)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("SIGSEGV", "ended its process (SIGSEGV)"),
        ("SIGILL", "ended its process (SIGILL)"),
        ("exit", "ended its process (last words)"),
        ("memory", "needs more memory than there is"),
        ("wrong", "elements of result 0 differ"),
    ],
)
def test_a_bad_candidate_fails_alone(
    runner: LocalRunner, tasks: list[Task], kind: str, failure: str
) -> None:
    outcome = measured(runner, candidate(tasks[0], kind))
    assert failure in outcome.failure and outcome.times == ()
    for task in tasks:
        (times,) = measured(runner, candidate(task, rounds=3)).times
        assert len(times) == 3 and min(times) > 0


def test_jobs_are_built_side_by_side_and_fail_alone(work: Work, tasks: list[Task]) -> None:
    """Two children: outcomes come in the order of the jobs, whoever fails."""
    with LocalRunner(work, SECONDS, CRASHING, children=2) as runner:
        assert runner.slots == 2
        good = candidate(tasks[-1], rounds=3)
        for pair in ([good, candidate(tasks[0])], [candidate(tasks[0], "SIGSEGV"), good], [good]):
            for job in pair:
                runner.submit(job)
            outcomes = runner.wait()
            assert [outcome.job for outcome in outcomes] == pair
            crashed = [job.choices[0].tasks == BAD["SIGSEGV"] for job in pair]
            assert ["SIGSEGV" in outcome.failure for outcome in outcomes] == crashed
            assert all(len(o.times[0]) == o.job.rounds for o in outcomes if not o.failure)
    assert runner.machines[0].measured == 4


def test_nothing_is_built_while_another_child_measures(
    work: Work, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children write down when they work: measurements overlap with nothing."""
    diary = tmp_path / "diary"
    monkeypatch.setenv("ABC_TEST_DIARY", str(diary))
    with LocalRunner(work, SECONDS, CRASHING, children=2) as runner:
        for _ in range(3):
            for _ in range(2):
                runner.submit(candidate(tasks[0], rounds=20))
            runner.wait()
    spans = [line.split() for line in diary.read_text().splitlines()]
    measures = [(float(a), float(b)) for kind, a, b in spans if kind == "measure"]
    others = [(float(a), float(b)) for _, a, b in spans]
    assert len(measures) == 6 and len(others) == 12
    for begin, end in measures:
        assert sum(a < end and b > begin for a, b in others) == 1  # itself


def test_a_candidate_that_hangs_is_ended_in_time(work: Work, tasks: list[Task]) -> None:
    with LocalRunner(work, SECONDS, CRASHING, children=1) as runner:
        assert measured(runner, candidate(tasks[0])).times
        runner._seconds = 1
        start = time.monotonic()
        assert "took more than 1 s" in measured(runner, candidate(tasks[0], "hang")).failure
        assert time.monotonic() - start < 6
        runner._seconds = SECONDS
        assert measured(runner, candidate(tasks[0])).times


def test_choices_take_turns(runner: LocalRunner, tasks: list[Task]) -> None:
    near = next(iter(tasks[0].space.neighbours(tasks[0].default)))
    job = Job(tasks[0].key, (tasks[0].default, near), 5)
    assert [len(times) for times in measured(runner, job).times] == [5, 5]
    bad = Job(tasks[0].key, (tasks[0].default, replace(near, tasks=BAD["SIGSEGV"])), 5)
    assert "SIGSEGV" in measured(runner, bad).failure


def test_a_child_that_was_ended_between_two_jobs_is_replaced(work: Work, tasks: list[Task]) -> None:
    with LocalRunner(work, children=1) as runner:
        assert measured(runner, candidate(tasks[0])).times
        process = runner._children[0].ready()._process
        process.kill()
        process.wait(10)
        assert measured(runner, candidate(tasks[0])).times


def test_processes_start_once_and_again_after_the_end(work: Work, tasks: list[Task]) -> None:
    runner = LocalRunner(work, children=2)
    with runner:
        runner.wait_until_ready()
        first = [child.ready()._process.pid for child in runner._children]
        with runner:
            assert [child.ready()._process.pid for child in runner._children] == first
            assert measured(runner, candidate(tasks[0])).times
        with pytest.raises(DeviceError, match="was not entered"):
            runner.wait_until_ready()
        with runner:
            assert measured(runner, candidate(tasks[0])).times
    assert not any(Path(f"/proc/{pid}").exists() for pid in first)


def test_what_no_candidate_survives_is_raised(work: Work, tasks: list[Task]) -> None:
    with LocalRunner(replace(work, threads=0)) as runner:
        runner.submit(candidate(tasks[0]))
        with pytest.raises(InputError, match="threads: 0"):
            runner.wait()
    with LocalRunner(work, SECONDS, "tests.no_such_module") as runner:
        runner.submit(candidate(tasks[0]))
        with pytest.raises(DeviceError, match=r"does not start .* --continue"):
            runner.wait()


def test_a_layer_that_is_gone_is_said(tasks: list[Task], device: Device, tmp_path: Path) -> None:
    save_layer(tmp_path, tasks[0])
    next((tmp_path / LAYERS).iterdir()).unlink()
    with LocalRunner(Work(tmp_path, device)) as runner:
        runner.submit(candidate(tasks[0]))
        with pytest.raises(RecordsError, match="is gone"):
            runner.wait()


@pytest.mark.parametrize("kind", [None, "hang"])
def test_no_process_outlives_a_killed_tuner(
    work: Work, tasks: list[Task], kind: str | None
) -> None:
    """Not even one whose candidate hangs with Python's lock."""
    job = candidate(tasks[0], kind, rounds=10**6)
    program = f"""
import pickle
from abc_tvm.tuning.workers.local import LocalRunner
work, job = pickle.loads({pickle.dumps((work, job))!r})
with LocalRunner(work, 600, {CRASHING!r}) as runner:
    runner.submit(job)
    print(runner._children[0].ready()._process.pid, flush=True)
    runner.wait()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=QUICK) as tuner:
        assert tuner.stdout is not None
        child = int(tuner.stdout.readline())
        time.sleep(1)
        assert alive(child)
        tuner.send_signal(signal.SIGKILL)
        tuner.wait(10)
    end = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < end, f"process {child} is still there"
        time.sleep(0.05)


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
