"""Time things that take turns: what a busy machine does to one, it does to all."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

PAUSE_S = 0.01


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call: the median and the least of ``repeat`` measurements."""

    median_ms: float
    min_ms: float
    repeat: int


def take_turns(
    calls: Mapping[str, Callable[[], object]], repeat: int, number: int = 1
) -> dict[str, Times]:
    """Time ``calls`` in turns (A B A B …), each turn after a pause and an untimed call.

    The pause lets the threads of the engine before go to sleep (they spin for a while, on the
    processors that the next engine needs); the untimed call brings caches and clock back.

    Args:
        calls: What to time, by name.
        repeat: Measurements of each.
        number: Calls in a row that one measurement averages over.
    """

    def measured(call: Callable[[], object]) -> float:
        call()
        start = time.perf_counter()
        for _ in range(number):
            call()
        return (time.perf_counter() - start) / number * 1e3

    for call in calls.values():
        call()
    return alternate({name: partial(measured, call) for name, call in calls.items()}, repeat)


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
    return {name: Times(median(ms), min(ms), repeat) for name, ms in taken.items()}


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
