"""Time things that take turns: what a busy machine does to one, it does to all."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

PAUSE_S = 0.01
WARM_S = 0.02
CLOCK_STEPS = 2_000


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call, of ``repeat`` measurements: median, least, 90th percentile."""

    median_ms: float
    min_ms: float
    p90_ms: float
    repeat: int

    @staticmethod
    def of(taken: Sequence[float]) -> Times:
        """The summary of measurements in milliseconds, at least one."""
        at = math.ceil(0.9 * len(taken)) - 1
        return Times(median(taken), min(taken), sorted(taken)[at], len(taken))

    @property
    def spread(self) -> float:
        """How far the 90th percentile lies above the least, as a share of the least."""
        return self.p90_ms / self.min_ms - 1

    def json(self) -> dict[str, float]:
        """The summary as JSON."""
        return asdict(self)


def take_turns(
    calls: Mapping[str, Callable[[], object]], repeat: int, number: int = 1
) -> dict[str, Times]:
    """Time ``calls`` in turns (A B A B …), each turn after a pause and untimed calls.

    The pause lets the threads of the engine before go to sleep (they spin for a while, on the
    processors that the next engine needs); untimed calls for ``WARM_S`` bring caches and clock
    back. (One call would do for a slow engine; a fast one ran 5 % slower after 4 ms of them.)

    Args:
        calls: What to time, by name.
        repeat: Measurements of each.
        number: Calls in a row that one measurement averages over.
    """

    def measured(call: Callable[[], object]) -> float:
        warm_up(call)
        start = time.perf_counter()
        for _ in range(number):
            call()
        return (time.perf_counter() - start) / number * 1e3

    for call in calls.values():
        call()
    return alternate({name: partial(measured, call) for name, call in calls.items()}, repeat)


def warm_up(call: Callable[[], object]) -> None:
    """Call for ``WARM_S`` seconds, at least once."""
    end = time.perf_counter() + WARM_S
    call()
    while time.perf_counter() < end:
        call()


def alternate(measures: Mapping[str, Callable[[], float]], repeat: int) -> dict[str, Times]:
    """Take measurements in turns, each after a pause.

    Args:
        measures: What measures one thing once, in milliseconds, after an untimed call.
        repeat: Measurements of each.
    """
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeat):
        for name, measure in measures.items():
            time.sleep(PAUSE_S)
            taken[name].append(measure())
    return {name: Times.of(ms) for name, ms in taken.items()}


def clock_loop() -> None:
    """About a millisecond of one processor's registers: what changes its time is the clock.

    It takes turns with what is timed, and shows how far the processor's frequency drifts, or how
    much of it others take.
    """
    hashlib.pbkdf2_hmac("sha256", b"clock", b"loop", CLOCK_STEPS)


@contextlib.contextmanager
def pinned(count: int) -> Iterator[tuple[int, ...]]:
    """Confine the process to ``count`` of its processors, given to the body, and lift it again.

    All its threads go along: a pool made before would stay on the processors of that time.
    """
    before = os.sched_getaffinity(0)
    chosen = tuple(sorted(before)[-count:])
    _confine(chosen)
    try:
        yield chosen
    finally:
        _confine(tuple(before))


def _confine(processors: tuple[int, ...]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), processors)
