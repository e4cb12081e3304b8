"""The child that talks to a device: it says each step, and a lost session is the device's fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tvm

from abc_tvm.errors import DeviceError
from abc_tvm.tuning.measure import WrongResult
from abc_tvm.tuning.workers import device_worker as module
from abc_tvm.tuning.workers.device_worker import DeviceWorker
from abc_tvm.tuning.workers.package import Package
from abc_tvm.tuning.workers.runner import Job


class Session:
    """A device that is this machine, whose kernels add ``shift``."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift, self.alive, self.files = shift, True, list[str]()

    def cpu(self) -> Any:
        return tvm.cpu()

    def upload(self, data: bytearray, name: str) -> None:
        self._check()
        self.files.append(name)

    def load_module(self, name: str) -> Any:
        self._check()

        def run(x: Any, y: Any) -> None:
            y.copyfrom(x.numpy() + np.float32(self.shift))

        return run

    def remove(self, name: str) -> None:
        self.files.remove(name)

    def get_function(self, name: str) -> Any:
        self._check()
        return lambda: 1

    def _check(self) -> None:
        if not self.alive:
            raise RuntimeError("the\nsession is gone")


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def worker(session: Session) -> DeviceWorker:
    pipe: Any = SimpleNamespace(said=[])
    pipe.send = pipe.said.append
    made = DeviceWorker(pipe)
    made._session, made._where, made._seconds = session, "pi:9", 3.0
    return made


X = np.arange(3, dtype=np.float32)


def test_what_two_candidates_share_is_sent_once(worker: DeviceWorker) -> None:
    first = worker._kept(X)
    assert worker._kept(X.copy()) is first
    assert worker._kept(X.astype(np.int32)) is not first
    assert worker._kept(X.reshape(1, 3)) is not first
    assert worker._kept(X + 1) is not first


def test_results_of_an_earlier_candidate_do_not_pass_for_this_ones(worker: DeviceWorker) -> None:
    empty = np.full(3, -1, np.float32)
    (first,) = worker._results([empty])
    first.copyfrom(X)
    (second,) = worker._results([empty])
    assert second is first and second.numpy().tolist() == [-1, -1, -1]
    (other,) = worker._results([np.zeros((2, 2), np.float32)])
    assert other is not first and tuple(other.shape) == (2, 2)


def test_each_step_is_said_with_its_time(worker: DeviceWorker) -> None:
    worker._step("pi:9: silent")
    assert worker._pipe.said == [("step", "pi:9: silent within 3 s", 3.0)]  # type: ignore[attr-defined]


def test_an_upload(worker: DeviceWorker, session: Session) -> None:
    package = Package(b"library", [X, np.zeros(3, np.float32)], [(3,)])
    worker._built(package)
    assert session.files == [], "what was loaded is removed there"
    session.alive = False
    with pytest.raises(DeviceError, match=r"pi:9: takes no upload \(the session is gone\)"):
        worker._built(package)


def test_an_error_of_a_candidate_and_one_of_the_device(
    worker: DeviceWorker, session: Session
) -> None:
    def fail() -> None:
        raise RuntimeError("bad\ncandidate")

    assert worker._alive_or_error(lambda: 3) == 3
    with pytest.raises(RuntimeError, match="bad"):
        worker._alive_or_error(fail)
    session.alive = False
    with pytest.raises(DeviceError, match=r"pi:9: ended the session \(bad candidate\)"):
        worker._alive_or_error(fail)


def test_candidates_are_compared_before_they_are_timed(
    worker: DeviceWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = {b"right": [X], b"wrong": [X + 1]}
    package = Package(b"right", [], [])

    def built(one: Package) -> Any:
        return SimpleNamespace(outputs=lambda: outputs[one.library])

    timed: list[Any] = []

    def in_turns(kernels: list[Any], rounds: int, before: Any) -> list[tuple[float, ...]]:
        before()
        timed.append(len(kernels))
        return [(1.0,) * rounds for _ in kernels]

    monkeypatch.setattr(worker, "_built", built)
    monkeypatch.setattr(module, "in_turns", in_turns)
    worker.reference(package)
    job = Job("7", ("one", "two"), 2)  # type: ignore[arg-type]
    assert worker.measure(job, [package, package]) == [(1.0, 1.0), (1.0, 1.0)]
    with pytest.raises(WrongResult):
        worker.measure(job, [package, Package(b"wrong", [], [])])
    assert timed == [2]
    assert any("silent while it measured two within" in said[1] for said in worker._pipe.said)  # type: ignore[attr-defined]
