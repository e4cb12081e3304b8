"""Processes that try things, with limits of time and memory; a crash is one of their answers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .judge import Outcome

Task = Callable[[int], Outcome]
Make = Callable[..., Task]
"""Made in the worker, from picklable arguments: the task takes a number."""

SECONDS = 60.0
"""Longer than the slowest case on a busy machine; a hang is longer."""

RECYCLE = 400
"""Cases a process: what it has loaded stays in its memory."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    number: int | None = None
    since: float = 0.0
    done: int = 0


def outcomes(
    make: Make,
    arguments: tuple[Any, ...],
    numbers: Iterator[int],
    *,
    processes: int = 2,
    seconds: float = SECONDS,
    until: float = float("inf"),
) -> Iterator[tuple[int, Outcome]]:
    """Number and outcome, as they come, until ``numbers`` end or the clock passes ``until``.

    A process that dies is an outcome "crash", one that takes longer than ``seconds`` a "hang".
    """
    context = multiprocessing.get_context("spawn")
    workers = [_start(context, make, arguments) for _ in range(processes)]
    try:
        while workers:
            for worker in list(workers):
                if worker.number is None and not _next(worker, numbers, until):
                    workers.remove(worker)
                    _stop(worker)
            busy = [w for w in workers if w.number is not None]
            wait([w.pipe for w in busy], timeout=1.0)
            for worker in busy:
                answer = _answer(worker, seconds)
                if answer is None:
                    continue
                number = worker.number
                worker.number = None
                worker.done += 1
                dead = not worker.process.is_alive() or answer.kind in ("crash", "hang")
                if dead or worker.done >= RECYCLE:
                    workers.remove(worker)
                    _stop(worker)
                    workers.append(_start(context, make, arguments))
                assert number is not None
                yield number, answer
    finally:
        for worker in workers:
            _stop(worker)


def _next(worker: _Worker, numbers: Iterator[int], until: float) -> bool:
    number = next(numbers, None) if time.monotonic() < until else None
    if number is None:
        return False
    worker.number, worker.since = number, time.monotonic()
    worker.pipe.send(number)
    return True


def _answer(worker: _Worker, seconds: float) -> Outcome | None:
    """What the worker said, or what became of it; None: it is at work."""
    try:
        if worker.pipe.poll():
            return Outcome(*worker.pipe.recv())
    except (EOFError, ConnectionResetError):
        worker.process.join(10)
        return Outcome("crash", _ending(worker.process.exitcode))
    # The first case waits for the imports.
    limit = seconds if worker.done else seconds + 120
    if time.monotonic() - worker.since > limit:
        return Outcome("hang", f"more than {seconds:.0f} s")
    return None


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit {code}"


def _start(context: Any, make: Make, arguments: tuple[Any, ...]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, make, arguments), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join(0.2 if worker.number is None else 0)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _work(pipe: Connection, make: Make, arguments: tuple[Any, ...]) -> None:
    """In the child: quiet, without torch, one thread."""
    os.environ["TVM_NUM_THREADS"] = "1"
    os.environ["ABC_TVM_SECOND_OPINION"] = "error"
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from abc_tvm.without_torch import import_tvm_without_torch

    import_tvm_without_torch()
    task = make(*arguments)
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            outcome = task(number)
        except Exception as error:  # noqa: BLE001  a fault of the fuzzer, to be seen as one
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            outcome = Outcome("error", f"the fuzzer: {type(error).__name__} at {where}", str(error))
        pipe.send((outcome.kind, outcome.cause, outcome.detail))
