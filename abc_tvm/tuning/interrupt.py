"""Ctrl-C between two measurements, never inside one.

An exception that is raised in Python code which TVM calls comes back as TVM's own error. There a
Ctrl-C would look like a choice that cannot be built, and be recorded as one.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Raise the ``KeyboardInterrupt`` of a Ctrl-C in the body when the body is done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals, and may change how
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
