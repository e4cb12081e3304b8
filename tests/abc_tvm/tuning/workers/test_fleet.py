"""Tuning on devices behind TVM's RPC: they join, die, fall silent, and come back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from abc_tvm.cli import run_command
from abc_tvm.errors import DeviceError
from abc_tvm.records.database import RECORDS, Database, Record
from abc_tvm.records.manifest import folder_name
from abc_tvm.records.suspects import Suspect
from abc_tvm.records.task import Task, save_layer
from abc_tvm.remote import Address
from abc_tvm.remote.address import read_address
from abc_tvm.targets import Device
from abc_tvm.tuning.workers.fleet import FleetRunner
from abc_tvm.tuning.workers.runner import Job, JobOutcome, Work
from tests.abc_tvm.remote import servers
from tests.abc_tvm.small_networks import chain, write
from tests.abc_tvm.tuning.crashing import BAD, CRASHING
from tests.children import QUICK

pytest.importorskip("tornado", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")
pytest.importorskip("psutil", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")

KEY = "x86"
LIMIT_S = 5
SLACK_S = 10  # as promised: time-out + 10 s
START_S = 120
Capture = pytest.CaptureFixture[str]


class Fleet:
    """A tracker and servers that may come and go."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.tracker = stack.enter_context(servers.tracker(folder))
        self.groups: dict[str, int] = {}

    def start(self) -> str:
        server = servers.server(self._folder, "--tracker", self.tracker, "--key", KEY)
        place, group, _ = self._stack.enter_context(server)
        self.groups[place] = group
        return place

    def kill(self, place: str) -> None:
        os.killpg(self.groups.pop(place), signal.SIGKILL)

    @property
    def options(self) -> list[str]:
        return ["--rpc-tracker", self.tracker, "--rpc-key", KEY, "--rpc-timeout", str(LIMIT_S)]

    @property
    def address(self) -> Address:
        address = read_address(None, self.tracker, KEY)
        assert address is not None
        return address


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        yield Fleet(tmp_path, stack)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One device that no test harms."""
    with contextlib.ExitStack() as stack:
        fleet = Fleet(tmp_path_factory.mktemp("standing"), stack)
        fleet.start()
        servers.wait_for_device(fleet.tracker, KEY)
        yield fleet


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes a minute to tune."""
    return write(tmp_path_factory.mktemp("long") / "m.onnx", chain(8, 16, 24, 32))


class Tuner:
    """``abc-tvm tune`` in a process, with what it has said so far."""

    def __init__(self, model: Path, folder: Path, log: Path, *options: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "abc_tvm", *tune(model, folder), *options]
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env=QUICK,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait_for(self, text: str) -> None:
        servers.wait_for(self.log, text, START_S)

    def end(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def gives_up_in_time(self) -> None:
        """The error is there in time; Python may need a moment to end on a busy machine."""
        servers.wait_for(self.log, "no device is left", LIMIT_S + SLACK_S)
        assert self.end(START_S) == 2, self.said

    @property
    def said(self) -> str:
        return self.log.read_text()


def tune(model: Path, folder: Path) -> list[str]:
    words = ["tune", str(model), "-t", "native", "--lowering", "bitserial", "--json"]
    return [*words, "--records", str(folder)]


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def records(folder: Path, device: Device) -> list[Record]:
    own = folder / folder_name(device)
    return Database(own).read().records if (own / RECORDS).exists() else []


@pytest.mark.slow
def test_devices_die_and_join_and_all_die(
    fleet: Fleet, long: Path, device: Device, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "r"
    places = [fleet.start() for _ in range(2)]
    run = Tuner(long, folder, tmp_path / "tune.log", "--trials", "100000", *fleet.options)
    for place in places:
        run.wait_for(f"device {place} joins")
    until(lambda: len(records(folder, device)) >= 3)

    fleet.kill(places[0])
    run.wait_for(f"device {places[0]} is dropped: ")
    before = len(records(folder, device))
    until(lambda: len(records(folder, device)) >= before + 3)

    new = fleet.start()
    run.wait_for(f"device {new} joins")

    for place in [*fleet.groups]:
        fleet.kill(place)
    run.gives_up_in_time()
    last = run.said.splitlines()[-1]
    assert "no device is left" in last and "--continue" in last and "Traceback" not in run.said
    kept = records(folder, device)
    assert len(kept) >= before + 3 and not any(r.failed for r in kept)

    fleet.start()
    capsys.readouterr()
    assert run_command([*tune(long, folder), "--continue", "--trials", "2"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["settings"]["rpc_tracker"] == fleet.tracker
    assert records(folder, device)[: len(kept)] == kept
    assert all(row["tuned_us"] for row in facts["tasks"])
    assert run_command(["records", "check", str(folder)]) == 0


@pytest.mark.slow
def test_a_silent_device_alone_is_an_error_in_time(
    model: Path, device: Device, tmp_path: Path
) -> None:
    folder = tmp_path / "r"
    with servers.server(tmp_path) as (place, group, _):
        options = ["--rpc", place, "--rpc-timeout", str(LIMIT_S)]
        run = Tuner(model, folder, tmp_path / "tune.log", "--trials", "100000", *options)
        until(lambda: len(records(folder, device)) >= 2)
        os.killpg(group, signal.SIGSTOP)
        run.gives_up_in_time()
    assert f"within {LIMIT_S} s" in run.said and "no device is left" in run.said
    assert len(records(folder, device)) >= 2


@pytest.mark.slow
def test_ctrl_c_ends_a_fleet_at_once(
    standing: Fleet, model: Path, device: Device, tmp_path: Path
) -> None:
    folder = tmp_path / "r"
    run = Tuner(model, folder, tmp_path / "tune.log", "--trials", "100000", *standing.options)
    until(lambda: len(records(folder, device)) >= 2)
    children = _children(run.process.pid)
    assert len(children) >= 3  # builders, the device's, and the one that waits for the next
    run.process.send_signal(signal.SIGINT)
    assert run.end(START_S) == 130, run.said
    assert "--continue" in run.said and "Traceback" not in run.said
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert not any(record.failed for record in records(folder, device))


def _children(number: int) -> list[int]:
    tasks = Path(f"/proc/{number}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.slow
def test_a_candidate_that_kills_devices_fails_at_the_second(
    fleet: Fleet, tasks: list[Task], device: Device, tmp_path: Path
) -> None:
    for task in tasks:
        save_layer(tmp_path, task)
    places = [fleet.start() for _ in range(3)]
    said: list[str] = []

    def job(task: Task, kind: str = "") -> Job:
        choice = replace(task.default, tasks=BAD[kind]) if kind else task.default
        return Job(task.key, (choice,), 2)

    suspects: list[Suspect] = []
    work = Work(tmp_path, device)
    runner = FleetRunner(work, fleet.address, LIMIT_S, said.append, CRASHING, suspects.append)
    one, two = (task for task in tasks if task.macs)
    good, other = job(one), job(two)
    deadly, broken = job(one, "device"), job(two, "SIGSEGV")
    with runner:
        found: dict[Job, JobOutcome] = {}
        runner.submit(good)
        while good not in found or runner._connected < 3:
            if good not in found:
                found |= {outcome.job: outcome for outcome in runner.wait()}
            else:
                runner.submit(good)
                runner.wait()
        for bad in (deadly, other, broken):
            runner.submit(bad)
        while len(found) < 4:
            found |= {outcome.job: outcome for outcome in runner.wait()}
        assert "2 devices died at it" in found[deadly].failure
        assert "ended the process that builds it (SIGSEGV)" in found[broken].failure
        assert len(found[other].times[0]) == len(found[good].times[0]) == 2
        dropped = {place for place in places if any(f"{place} is dropped" in s for s in said)}
        assert len(dropped) == 2 and runner._connected == 1
        assert {suspect.where for suspect in suspects} == dropped
        assert {suspect.choices for suspect in suspects} == {deadly.choices}
        runner.submit(replace(deadly, deaths=("switched off", "hung up")))  # of earlier runs
        (known,) = runner.wait()
        assert known.failure == "2 devices died at it: hung up" and runner._connected == 1
        runner.submit(good)
        (last,) = runner.wait()
        assert last.times and last.where not in dropped


def test_what_cannot_begin_is_said_at_once(
    standing: Fleet, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    def complaint(*options: str, target: str = "native") -> str:
        capsys.readouterr()
        words = tune(model, tmp_path / "r")
        words[words.index("native")] = target
        assert run_command([*words, *options]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1, said
        return said.err

    nowhere = f"127.0.0.1:{servers.free_port()}"
    assert "nothing accepts connections" in complaint("--rpc", nowhere)
    assert "nothing accepts connections" in complaint("--rpc-tracker", nowhere, "--rpc-key", "a")
    other = ["nobody" if word == KEY else word for word in standing.options]
    assert f"no device of that key (it has: {KEY})" in complaint(*other)
    assert "belong together" in complaint("--rpc-key", KEY)
    servers.wait_for_device(standing.tracker, KEY)
    said = complaint(*standing.options, target="rpi4")
    assert "compiled for aarch64" in said and "is x86_64" in said


def test_busy_devices_are_said(
    standing: Fleet, tasks: list[Task], tmp_path: Path, device: Device
) -> None:
    from tvm import rpc

    save_layer(tmp_path, tasks[0])
    servers.wait_for_device(standing.tracker, KEY)
    host, _, port = standing.tracker.rpartition(":")
    other = rpc.connect_tracker(host, int(port)).request(KEY)
    with FleetRunner(Work(tmp_path, device), standing.address, 2, print) as runner:
        runner.submit(Job(tasks[0].key, (tasks[0].default,), 1))
        with pytest.raises(DeviceError, match="became free within 2 s"):
            runner.wait()
    del other


@pytest.mark.slow
def test_a_fleet_may_be_entered_again(
    standing: Fleet, tasks: list[Task], tmp_path: Path, device: Device
) -> None:
    save_layer(tmp_path, tasks[0])
    job = Job(tasks[0].key, (tasks[0].default,), 1)
    said: list[str] = []
    runner = FleetRunner(Work(tmp_path, device), standing.address, LIMIT_S, said.append)
    for _ in range(2):
        servers.wait_for_device(standing.tracker, KEY)
        with runner:
            runner.submit(job)
            (outcome,) = runner.wait()
            assert outcome.times and not outcome.failure
            assert runner._connected == 1
        assert runner.slots == runner._builders.count
    assert [s for s in said if "dropped" in s] == []
