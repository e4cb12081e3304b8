"""The tuner's child process with candidates that crash, hang, eat memory and compute wrong.

The knob ``tasks`` of a choice says which: see ``BAD``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm.records.task import Task
from abc_tvm.schedules.choice import Choice
from abc_tvm.tuning import measure
from abc_tvm.tuning.workers import worker
from abc_tvm.tuning.workers.package import Package

CRASHING = "tests.abc_tvm.tuning.crashing"
"""This module, as the tuner starts it."""

BAD = {
    "SIGSEGV": 101,
    "SIGILL": 102,
    "hang": 103,
    "memory": 104,
    "wrong": 105,
    "exit": 106,
    "device": 107,
}

_build = measure.Bench.build
_package = worker.package


def _misbehave(choice: Choice | None) -> None:
    if choice is None or choice.tasks not in BAD.values():
        return
    if choice.tasks == BAD["SIGSEGV"]:
        ctypes.string_at(0)
    elif choice.tasks == BAD["SIGILL"]:
        os.kill(os.getpid(), signal.SIGILL)
    elif choice.tasks == BAD["hang"]:
        ctypes.PyDLL(None).pause()  # holds Python's lock
    elif choice.tasks == BAD["memory"]:
        np.ones(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), np.uint8)
    elif choice.tasks == BAD["exit"]:
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)


def build(self: measure.Bench, choice: Choice) -> measure.Built:
    _misbehave(choice)
    built = _build(self, choice)
    if choice.tasks == BAD["wrong"]:
        found = built.outputs()
        found[0] = found[0] + 1
        measure.compare(found, self.expected())
    return built


def package(task: Task, device: Any, choice: Choice | None) -> Package:
    _misbehave(choice)
    made = _package(task, device, choice)
    if choice is not None and choice.tasks == BAD["device"]:
        made.library = _deadly()
    return made


def _deadly() -> bytes:
    """A library that ends the process that loads it."""
    text = "#include <signal.h>\n__attribute__((constructor)) void f(void) { raise(SIGSEGV); }\n"
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "f.c"), Path(folder, "f.so")
        source.write_text(text)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        return library.read_bytes()


def written_down(name: str) -> None:
    """Let the worker append begin and end of each call of ``name`` to the file of the test."""
    inner = getattr(worker.LocalWorker, name)

    def call(self: worker.LocalWorker, *arguments: Any) -> Any:
        begin = time.monotonic()
        try:
            return inner(self, *arguments)
        finally:
            with Path(os.environ["ABC_TEST_DIARY"]).open("a") as diary:
                diary.write(f"{name} {begin} {time.monotonic()}\n")

    setattr(worker.LocalWorker, name, call)


if __name__ == "__main__":
    if "ABC_TEST_DIARY" in os.environ:
        for method in ("build", "measure"):
            written_down(method)
    measure.Bench.build = build  # type: ignore[method-assign]
    worker.package = package  # type: ignore[attr-defined]
    worker.main()
