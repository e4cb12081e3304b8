"""Threads that run networks with several threads, for the Python threads that ask.

A *crew* is a thread of ours in which TVM makes a pool: with its workers it has exactly as many
threads as were asked for. The thread that asks waits meanwhile; going there and back takes some
5 µs. Because TVM ties a pool to the thread that uses it, this keeps workers out of all threads
that we did not make:

- a Python thread that ends, or a process, never waits for workers;
- a forked child has no broken pool: its first run makes a crew of its own.

Crews of one size are lent by a *team*, so there are as many as runs at the same time, and never
more idle ones than there are sessions. When the last session of that size is gone, so are they.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from abc_tvm.errors import InputError
from abc_tvm.runtime.threads import use_threads

_PATIENCE_S = 0.1


class _Job:
    """A call, and what came of it."""

    __slots__ = ("arguments", "done", "ended", "error", "function", "result")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        """Make the call, and wake who waits."""
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where the call came from
            self.error = error
        self.ended = True
        self.done.release()


class Crew:
    """One thread with a pool of ``count`` threads, itself among them; one caller at a time.

    Raises:
        InputError: The system has no thread to give.
    """

    def __init__(self, count: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._process = os.getpid()
        try:
            # A daemon: at its end the process must not wait for what is idle.
            threading.Thread(
                target=_work, args=(self._jobs,), name="abc-tvm-crew", daemon=True
            ).start()
        except RuntimeError as error:
            raise InputError(
                f"threads: {count} asked for, and the system has no more threads to give ({error})"
            ) from error
        try:
            self.run(use_threads, count)
        except BaseException:
            self.end()
            raise

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call there; the result, or what it raised."""
        job = _Job(function, arguments)
        try:
            self._jobs.put(job)
            job.done.acquire()
        finally:
            # Ctrl-C ends the waiting, not the call, which still uses the network. (In a child that
            # was forked by the handler of a signal nobody makes the call.)
            while not job.ended and os.getpid() == self._process:
                with contextlib.suppress(BaseException):
                    job.done.acquire(timeout=_PATIENCE_S)
        if job.error is not None:
            raise job.error
        return job.result

    def end(self) -> None:
        """Let the thread end, and the workers with it, after the calls that it has."""
        self._jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # and with it the caller's tensors


class Team:
    """All crews of one size. Nothing here takes a lock, so that a fork finds none taken."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._idle: deque[Crew] = deque()
        self._users: set[object] = set()

    def enlist(self, user: object) -> None:
        """Keep a crew at the ready as long as ``user`` lives, once it has needed one."""
        token = object()
        self._users.add(token)
        weakref.finalize(user, self._leave, token).atexit = False

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call in a crew that is idle, or a new one; the result, or what it raised."""
        try:
            crew = self._idle.pop()
        except IndexError:
            crew = Crew(self._count)
        try:
            return crew.run(function, *arguments)
        finally:
            self._idle.append(crew)
            self._dismiss()

    def forget(self) -> None:
        """In a forked child: the threads of all crews stayed behind."""
        self._idle.clear()

    def _leave(self, token: object) -> None:
        self._users.discard(token)
        self._dismiss()

    def _dismiss(self) -> None:
        with contextlib.suppress(IndexError):  # where another thread was faster
            while len(self._idle) > len(self._users):
                self._idle.popleft().end()


_teams: dict[int, Team] = {}


def team(count: int) -> Team:
    """The team whose crews have ``count`` threads."""
    return _teams.setdefault(count, Team(count))


def forget_crews() -> None:
    """In a forked child: what other threads than the one that forked had."""
    for each in _teams.values():
        each.forget()
