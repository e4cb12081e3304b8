"""What sessions do when their process forks: no run is cut in two, and the child can go on.

Only the thread that forks lives on in the child; what others held, they hold there for ever: a
session's lock, TVM's lock on its memory. So a fork waits until no session is in a run, for a
while. In the child every session is told, and the crews are forgotten.

(``multiprocessing``'s fork, gunicorn's preloading and torch's DataLoader all call ``os.fork``,
which calls these functions.)
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from typing import Any, Protocol

from abc_tvm.runtime.crews import forget_crews

WAIT_S = 5.0
"""How long a fork waits for runs to end. What is still in one then is of no use to the child."""


class Forkable(Protocol):
    """What has runs that a fork must not cut in two."""

    lock: Any
    """Held in a run, by the thread that asked for it (``threading.RLock``)."""

    def forked(self, in_run: bool) -> None:
        """In the child: make a new lock. ``in_run``: another thread was in a run for too long."""


def guard(session: Forkable) -> None:
    """Let every fork from now on wait for the runs of ``session``, and tell it in the child."""
    with _registry.lock:
        _registry.sessions.add(session)


class _Registry:
    """Sessions that live, and what a fork in progress holds."""

    def __init__(self) -> None:
        self.sessions: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self.lock = threading.Lock()
        self.held: list[Forkable] = []

    def before(self) -> None:
        """Wait for runs to end, and let none begin."""
        end = time.monotonic() + WAIT_S
        self.lock.acquire()
        for session in list(self.sessions):
            if session.lock.acquire(timeout=max(0.0, end - time.monotonic())):
                self.held.append(session)

    def in_parent(self) -> None:
        """Go on."""
        while self.held:
            self.held.pop().lock.release()
        self.lock.release()

    def in_child(self) -> None:
        """Start anew, with this thread alone."""
        forget_crews()
        ready = {id(session) for session in self.held}
        self.held.clear()
        self.lock = threading.Lock()
        for session in list(self.sessions):
            session.forked(in_run=id(session) not in ready)

    def at_exit(self) -> None:
        """Let runs of daemon threads end, and none begin: Python ends threads inside TVM badly.

        (It unwinds them, "terminate called".) This thread may still run sessions.
        """
        end = time.monotonic() + WAIT_S
        with self.lock:
            sessions = list(self.sessions)
        for session in sessions:
            session.lock.acquire(timeout=max(0.0, end - time.monotonic()))


_registry = _Registry()
atexit.register(_registry.at_exit)
os.register_at_fork(
    before=_registry.before,
    after_in_parent=_registry.in_parent,
    after_in_child=_registry.in_child,
)
