"""Crews: exactly as many threads as were asked for, as long as somebody may need them."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from abc_tvm.errors import InputError
from abc_tvm.runtime import threads
from abc_tvm.runtime.crews import Crew, Team
from tests.abc_tvm.runtime.tasks import new_tasks, tasks


class User:
    """Whoever may need a crew."""


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_processors", 8)


@contextlib.contextmanager
def crew_of(count: int) -> Iterator[Crew]:
    crew = Crew(count)
    try:
        yield crew
    finally:
        crew.end()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_as_many_threads_as_were_asked_for(count: int) -> None:
    before = tasks()
    with crew_of(count) as crew:
        assert new_tasks(before, count) == count
        assert crew.run(threading.get_ident) != threading.get_ident()
    assert new_tasks(before) == 0


def test_too_many_leave_no_thread() -> None:
    before = tasks()
    with pytest.raises(InputError, match="threads: 100000 is not possible here"):
        Crew(100_000)
    assert new_tasks(before) == 0


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(InputError, match="threads: 2 asked for, and the system has no more"):
        Crew(2)


def test_errors_are_the_callers() -> None:
    with crew_of(2) as crew:
        with pytest.raises(ZeroDivisionError):
            crew.run(divmod, 1, 0)
        assert crew.run(divmod, 7, 2) == (3, 1)


def test_an_idle_crew_keeps_nothing() -> None:
    with crew_of(2) as crew:
        user = User()
        kept = weakref.ref(user)
        assert crew.run(lambda given: given, user) is user
        del user
        end = time.monotonic() + 10
        while kept() is not None and time.monotonic() < end:
            time.sleep(0.001)
        assert kept() is None


def test_an_interrupt_waits_for_the_call() -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    ended = []

    def slow() -> None:
        time.sleep(0.3)
        ended.append(True)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with crew_of(2) as crew:
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            try:
                with pytest.raises(Interrupt):
                    crew.run(slow)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert ended == [True]
            assert crew.run(lambda: 3) == 3
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_team_has_a_crew_for_each_call_at_the_same_time() -> None:
    before, team, users = tasks(), Team(3), [User(), User()]
    for user in users:
        team.enlist(user)
    assert new_tasks(before) == 0  # none is made before it is needed
    for _ in range(3):
        team.run(lambda: None)
    assert new_tasks(before, 3) == 3
    meet = threading.Barrier(2)
    others = [threading.Thread(target=team.run, args=(meet.wait,)) for _ in users]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert new_tasks(before, 6) == 6
    del user, users[0]
    gc.collect()
    assert new_tasks(before, 3) == 3
    users.clear()
    gc.collect()
    assert new_tasks(before) == 0


def test_calls_of_nobody_leave_nothing() -> None:
    before, team = tasks(), Team(2)
    assert team.run(divmod, 7, 2) == (3, 1)
    assert new_tasks(before) == 0
