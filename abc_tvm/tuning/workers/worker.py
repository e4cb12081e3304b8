"""The child process that builds candidates, and on this machine also measures them.

``python -m abc_tvm.tuning.workers.worker FD`` answers the requests that come through the pipe
``FD``, see :mod:`abc_tvm.remote.watchdog`. It ends when the tuner does, and takes nothing with it
but the candidate that it was busy with.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections import OrderedDict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from abc_tvm.errors import RecordsError, UserError
from abc_tvm.records.task import load_layer
from abc_tvm.remote.watchdog import lifeline
from abc_tvm.schedules.choice import Choice
from abc_tvm.tuning.measure import Bench, Built, WrongResult, in_turns
from abc_tvm.tuning.workers.package import Package, package
from abc_tvm.tuning.workers.runner import Job, Work

KEPT = 4
"""Layers that are kept in memory; reading one again takes a fifth of a second."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class LocalWorker:
    """A method per kind of request."""

    def __init__(self) -> None:
        self._benches: OrderedDict[str, Bench] = OrderedDict()

    def ready(self, work: Work) -> None:
        """Import what takes seconds."""
        import tvm  # noqa: F401

        from abc_tvm.relay_passes import workload  # noqa: F401
        from abc_tvm.runtime.threads import use_threads

        self._work = work
        use_threads(work.threads)

    def build(self, job: Job) -> None:
        """Build and check the choices of a job here."""
        bench = self._bench(job.workload)
        self._built: list[Built] = []
        with self._in_order():
            self._built = [bench.build(choice) for choice in job.choices]

    def measure(self, rounds: int) -> list[tuple[float, ...]]:
        """Time what was built last."""
        with self._in_order():
            return in_turns(self._built, rounds)

    @contextlib.contextmanager
    def _in_order(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if self._work.device.gpu is not None:
                _last_words(error)  # after a kernel's error CUDA refuses all that follows
            raise

    def package(self, workload: str, choices: list[Choice | None]) -> list[Package]:
        """Build choices for another machine; ``None`` is the plain loops."""
        bench = self._bench(workload)
        return [package(bench.task, self._work.device, choice) for choice in choices]

    def _bench(self, key: str) -> Bench:
        bench = self._benches.pop(key, None)
        if bench is None:
            folder, device = self._work.folder, self._work.device
            task = load_layer(folder, key, device, self._work.threads)
            if task is None:
                raise RecordsError(f"{folder}: the layer {key} is gone; run again with --continue")
            bench = Bench(task, device)
        self._benches[key] = bench
        if len(self._benches) > KEPT:
            self._benches.popitem(last=False)
        return bench


def _last_words(error: Exception) -> NoReturn:
    """End this process; the tuner starts another."""
    print(" ".join(str(error).split())[-300:], file=sys.stderr, flush=True)
    os._exit(1)


def limit_memory() -> None:
    """Let a candidate that eats memory fail alone: here, and not in any other process.

    It gets half of the machine's memory, and where that is not there either, the kernel is to end
    this process first.
    """
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = whole // 2
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    with contextlib.suppress(OSError):  # a system without /proc
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def end_with_parent() -> None:
    """Let the kernel end this process when the tuner is gone, whatever it is doing.

    :func:`abc_tvm.remote.watchdog.lifeline` needs Python's lock for that, which a kernel that hangs
    may hold. Both: a parent that was gone before this call is seen by the lifeline.
    """
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def reply(worker: object, name: str, arguments: list[Any]) -> tuple[Any, ...]:
    """The message that answers a request."""
    try:
        return ("done", getattr(worker, name)(*arguments))
    except UserError as error:
        return ("refused", type(error).__name__, str(error))
    except MemoryError:
        return ("refused", "", "needs more memory than there is")
    except (WrongResult, RuntimeError, ValueError, AttributeError, TypeError) as error:
        return ("refused", "", " ".join(str(error).split())[-300:])
    except OSError as error:
        return ("refused", "RecordsError", f"{error.filename or 'a file'}: {error.strerror}")


def main() -> None:
    """Answer requests until the other side is gone."""
    pipe = Connection(int(sys.argv[1]))
    lifeline(pipe)
    end_with_parent()
    limit_memory()
    worker = LocalWorker()
    while True:
        name, *arguments = pipe.recv()
        pipe.send(reply(worker, name, arguments))


if __name__ == "__main__":
    try:
        main()
    except (EOFError, ConnectionError):
        os._exit(0)
