"""Judge cases in worker processes: one that dies takes its case with it, not the run."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.operators.cases import Case
from tests.operators.judge import CRASH, Verdict, judge

LIMIT = 120.0
"""Seconds that one case may take."""

Job = tuple[Case, bool]


def run(jobs: Iterable[Job], workers: int) -> Iterator[tuple[Case, Verdict]]:
    """The verdict of each job, as they come."""
    pending = iter(jobs)
    busy: dict[Connection, tuple[Any, Job]] = {}
    free = [_start() for _ in range(workers)]
    while True:
        while free:
            job = next(pending, None)
            if job is None:
                break
            process, pipe = free.pop()
            pipe.send(job)
            busy[pipe] = (process, job)
        if not busy:
            break
        ready = wait(list(busy), timeout=LIMIT)
        for pipe in ready or list(busy):
            process, (case, _) = busy.pop(pipe)  # type: ignore[index]
            try:
                if not ready:
                    raise EOFError
                verdict = pipe.recv()  # type: ignore[union-attr]
                free.append((process, pipe))
            except EOFError:
                process.kill()
                process.join()
                how = "took too long" if not ready else f"exit code {process.exitcode}"
                verdict = Verdict(CRASH, how)
                free.append(_start())
            yield case, verdict
    for process, pipe in free:
        pipe.send(None)
        process.join()


def _start() -> tuple[Any, Connection]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, ours), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _work(pipe: Connection, other: Connection) -> None:
    other.close()
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    if "--loud" not in sys.argv:
        os.dup2(devnull, 2)
    while (job := pipe.recv()) is not None:
        case, whole = job
        pipe.send(judge(case, whole=whole))
