"""The child's answers: results, or refusals that keep their kind; and how it ends."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import InputError, RecordsError
from abc_tvm.records.task import Task, save_layer
from abc_tvm.targets import Device, load
from abc_tvm.tuning.measure import WrongResult
from abc_tvm.tuning.workers import worker as module
from abc_tvm.tuning.workers.runner import Job, Work
from abc_tvm.tuning.workers.worker import KEPT, LocalWorker, reply
from tests.children import QUICK


class Worker:
    """Does what it is told."""

    def give(self, value: Any) -> Any:
        return value

    def fail(self, error: Exception) -> None:
        raise error


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (InputError("a b"), ("refused", "InputError", "a b")),
        (MemoryError(), ("refused", "", "needs more memory than there is")),
        (WrongResult("off\nby one"), ("refused", "", "off by one")),
        (ValueError("x" * 500), ("refused", "", "x" * 300)),
        (OSError(28, "full", "/f"), ("refused", "RecordsError", "/f: full")),
        (OSError(28, "full"), ("refused", "RecordsError", "a file: full")),
    ],
)
def test_refusals(error: Exception, answer: tuple[str, ...]) -> None:
    assert reply(Worker(), "fail", [error]) == answer


def test_results_and_nonsense() -> None:
    assert reply(Worker(), "give", [3]) == ("done", 3)
    assert reply(Worker(), "give", [])[0] == "refused"
    assert reply(Worker(), "nothing", [])[0] == "refused"
    with pytest.raises(KeyboardInterrupt):
        reply(Worker(), "fail", [KeyboardInterrupt()])


@pytest.fixture
def ready(tasks: list[Task], device: Device, tmp_path: Path) -> LocalWorker:
    for task in tasks:
        save_layer(tmp_path, task)
    worker = LocalWorker()
    worker._work = Work(tmp_path, device)
    return worker


def test_built_and_measured(ready: LocalWorker, tasks: list[Task]) -> None:
    task = tasks[-1]
    ready.build(Job(task.key, (task.default,), 2))
    ((first, second),) = ready.measure(2)
    assert first > 0 and second > 0
    (package,) = ready.package(task.key, [task.default])
    assert package.library.startswith(b"\x7fELF")


def test_a_few_layers_are_kept(ready: LocalWorker, tasks: list[Task]) -> None:
    first = ready._bench(tasks[0].key)
    assert ready._bench(tasks[0].key) is first
    for n in range(KEPT):
        ready._benches[str(n)] = first
    ready._bench(tasks[1].key)
    assert tasks[0].key not in ready._benches, "the one used longest ago"
    with pytest.raises(RecordsError, match="the layer none is gone; run again with --continue"):
        ready._bench("none")


def test_on_a_gpu_the_first_error_is_the_last(
    ready: LocalWorker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(module.os, "_exit", leave)
    with pytest.raises(RuntimeError), ready._in_order():
        raise RuntimeError("of a processor")
    ready._work = replace(ready._work, device=load("cuda-sm80"))
    with pytest.raises(SystemExit), ready._in_order():
        raise RuntimeError("CUDA:\nillegal address")
    assert capsys.readouterr().err == "CUDA: illegal address\n"


def test_memory_is_limited_in_the_child_alone() -> None:
    program = (
        "import resource\n"
        "from abc_tvm.tuning.workers.worker import limit_memory, end_with_parent\n"
        "limit_memory(); end_with_parent()\n"
        "print(resource.getrlimit(resource.RLIMIT_DATA)[0] > 0)\n"
        "try: bytearray(1 << 50)\n"
        "except MemoryError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=QUICK, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\nrefused\n"
