"""The helper process: one request after the other, and refusals that keep their kind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from abc_tvm.errors import DeviceError
from abc_tvm.remote import worker as module
from abc_tvm.remote.address import Address
from abc_tvm.remote.worker import Worker


class Pipe:
    """What the other side sends and gets."""

    def __init__(self, *requests: tuple[Any, ...]) -> None:
        self.requests, self.sent = list(requests), list[Any]()

    def recv(self) -> tuple[Any, ...]:
        if not self.requests:
            raise EOFError
        return self.requests.pop(0)

    def send(self, value: Any) -> None:
        self.sent.append(value)


class Session:
    """A device with a pool of threads that may be fixed."""

    def __init__(self, pool: int, fixed: bool = False) -> None:
        self.pool, self.fixed = pool, fixed

    def get_function(self, name: str) -> Any:
        if name == "runtime.NumThreads":
            return lambda: self.pool
        return self.configure

    def configure(self, mode: int, count: int) -> None:
        self.pool = self.pool if self.fixed else count


def worker(session: Any) -> Worker:
    pipe: Any = Pipe()
    made = Worker(pipe)
    made._session, made._where = session, "here:9"
    return made


def test_threads() -> None:
    assert worker(Session(4)).threads(None) == 4
    assert worker(Session(4)).threads(2) == 2
    with pytest.raises(DeviceError, match=r"^here:9: threads: 2 asked for, and .* a pool of 4: st"):
        worker(Session(4, fixed=True)).threads(2)


def test_outputs_of_one_and_of_several() -> None:
    class Machine:
        def __init__(self, found: Any) -> None:
            self.found = found

        def set_input(self, name: str, *tensors: Any) -> None:
            self.given = [tensor.numpy() for tensor in tensors]

        def invoke_stateful(self, name: str) -> None:
            return

        def get_outputs(self, name: str) -> Any:
            return self.found

    import tvm

    one = tvm.runtime.tensor(np.arange(3))
    made = worker(SimpleNamespace(cpu=tvm.cpu))
    made._machines = [Machine(one), Machine((one, one))]
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert [a.tolist() for a in made.run(0, [turned])] == [[0, 1, 2]]
    np.testing.assert_array_equal(made._machines[0].given[0], turned)
    assert len(made.run(1, [])) == 2


def answered(monkeypatch: pytest.MonkeyPatch, *requests: tuple[Any, ...]) -> list[Any]:
    pipe = Pipe(*requests)
    monkeypatch.setattr(module, "Connection", lambda number: pipe)
    monkeypatch.setattr(module, "lifeline", lambda _: None)
    monkeypatch.setattr("sys.argv", ["worker", "0"])
    with pytest.raises(EOFError):
        module.main()
    return pipe.sent


def test_it_answers_until_the_other_side_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "dial", lambda address, seconds, say: (say("at"), "here")[:2])
    sent = answered(monkeypatch, ("open", Address("h", 1), 1.0), ("nonsense",), ("load", "m", None))
    assert sent[:2] == [("at", "at"), ("done", None)]
    assert sent[2][0] == "refused" and "nonsense" in sent[2][2]
    assert sent[3][0] == "refused"


def test_a_refusal_keeps_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise DeviceError("h:1: away")

    monkeypatch.setattr(module, "dial", refuse)
    sent = answered(monkeypatch, ("open", Address("h", 1), 1.0))
    assert sent == [("refused", "DeviceError", "h:1: away")]


def test_a_file_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "check_device", lambda *_: None)
    made = worker(SimpleNamespace(upload=lambda *_: None))
    with pytest.raises(FileNotFoundError):
        made.load(str(tmp_path / "none.so"), None)  # type: ignore[arg-type]
