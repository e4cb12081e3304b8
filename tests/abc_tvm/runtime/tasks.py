"""The threads of this process, as the system counts them."""

from __future__ import annotations

import time
from pathlib import Path


def tasks() -> set[str]:
    """Their ids."""
    return {task.name for task in Path("/proc/self/task").iterdir()}


def new_tasks(before: set[str], most: int = 0, seconds: float = 20.0) -> int:
    """How many there are beside ``before``, when no more than ``most`` are left, or time is up.

    A thread that was joined is seen a moment longer.
    """
    end = time.monotonic() + seconds
    while len(tasks() - before) > most and time.monotonic() < end:
        time.sleep(0.01)
    return len(tasks() - before)
