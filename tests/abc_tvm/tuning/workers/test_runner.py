"""Jobs and outcomes are values, and both runners are what the tuner asks for."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from abc_tvm.tuning.workers.fleet import FleetRunner
from abc_tvm.tuning.workers.local import LocalRunner
from abc_tvm.tuning.workers.runner import Job, JobOutcome, MeasuringMachine, Runner, Work

JOB = Job("7", (Choice(Tile(1, 2, 1)), Choice(Tile(1, 1, 1))), 3)


def test_they_go_through_a_pipe(device: Device, tmp_path: Path) -> None:
    for value in (JOB, JobOutcome(JOB, "here", ((1.0,),)), Work(tmp_path, device, 2)):
        assert pickle.loads(pickle.dumps(value)) == value


def test_jobs_are_told_apart_by_what_they_ask() -> None:
    assert Job("7", JOB.choices, 3) == JOB and hash(JOB) == hash(Job("7", JOB.choices, 3))
    assert Job("7", JOB.choices[::-1], 3) != JOB
    assert Job("7", JOB.choices, 3, ("hung up",)) != JOB
    with pytest.raises(FrozenInstanceError):
        JOB.rounds = 4  # type: ignore[misc]


def test_what_is_left_out() -> None:
    assert JobOutcome(JOB, "here").times == () and JobOutcome(JOB, "here").failure == ""
    assert MeasuringMachine("one") == MeasuringMachine("one", "", 0)


@pytest.mark.parametrize("kind", [LocalRunner, FleetRunner])
def test_both_runners_are_such(kind: type) -> None:
    for name in ("slots", "machines"):
        assert isinstance(inspect.getattr_static(Runner, name), property)
        assert hasattr(kind, name) or name in inspect.getsource(kind.__init__)
    for name in ("submit", "wait", "__enter__", "__exit__"):
        wanted = list(inspect.signature(getattr(Runner, name)).parameters)
        assert len(inspect.signature(getattr(kind, name)).parameters) == len(wanted)
