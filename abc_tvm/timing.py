"""Time things that take turns: what a busy machine does to one, it does to all."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call: the median and the least of ``repeat`` measurements."""

    median_ms: float
    min_ms: float
    repeat: int


def take_turns(
    calls: Mapping[str, Callable[[], object]], repeat: int, number: int = 1
) -> dict[str, Times]:
    """Time ``calls`` in turns (A B A B …), after one warm-up call of each.

    Args:
        calls: What to time, by name.
        repeat: Measurements of each.
        number: Calls in a row that one measurement averages over.
    """
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(number):
                call()
            taken[name].append((time.perf_counter() - start) / number * 1e3)
    return {name: Times(median(ms), min(ms), repeat) for name, ms in taken.items()}


@contextlib.contextmanager
def pinned(count: int) -> Iterator[tuple[int, ...]]:
    """Confine the process to ``count`` of its processors, given to the body, and lift it again.

    Threads that exist already stay where they are.
    """
    before = os.sched_getaffinity(0)
    chosen = tuple(sorted(before)[-count:])
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)
