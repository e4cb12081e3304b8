"""Tasks that end badly, for the tests of ``workers``."""

from __future__ import annotations

import os
import time

from .judge import Outcome
from .workers import Task


def make_faulty(kind: str) -> Task:
    """A task whose case 1 crashes, hangs or raises."""

    def task(number: int) -> Outcome:
        if number == 1 and kind == "crash":
            os.abort()
        if number == 1 and kind == "hang":
            time.sleep(600)
        if number == 1 and kind == "raise":
            raise ValueError("planted")
        return Outcome("right")

    return task
