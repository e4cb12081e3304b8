"""What reaches the user's terminal is what the command says: one line where it fails.

TVM, LLVM and onnx write to file descriptor 2 themselves, at any time and in any number of lines
("BlockBuilder destroyed with remaining blocks!" comes when the garbage collector finds a builder
that a failure left behind). This is the one place that keeps them from it; ``--debug`` lets them.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click

from abc_tvm.errors import one_line

STDOUT, STDERR = 1, 2


class Stopped(KeyboardInterrupt):
    """A Ctrl-C about which the command has said its one line itself."""


def say(text: object) -> None:
    """One line on stderr, beside the results. A stderr that nobody can write to is no failure."""
    with contextlib.suppress(OSError):
        click.echo(f"abc-tvm: {one_line(str(text))}", err=True)


def open_all() -> None:
    """Make stdout and stderr fit to be printed to.

    Names that the terminal's encoding lacks are escaped. A process that was started without one
    of the two gets it, or the next file that is opened would be number 1 and get what is printed;
    what is printed to it fails, as it should, rather than being lost quietly.
    """
    for number, name in ((STDOUT, "stdout"), (STDERR, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            handle = os.open(os.devnull, os.O_RDONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, _Closed())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Closed(io.StringIO):
    """A stream that was closed before the process began."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


def silence_libraries() -> Callable[[], None]:
    """From now on stderr is Python's alone, until the function that is returned is called.

    What libraries write to its descriptor goes nowhere.
    """
    logging.lastResort = None  # absl and onnx log warnings to stderr where nobody listens
    kept, before = os.dup(STDERR), sys.stderr
    caught = warnings.catch_warnings()
    caught.__enter__()
    warnings.simplefilter("ignore")
    own = _on_own_descriptor(before)
    if own is not None:
        sys.stderr = own
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)

    def restore() -> None:
        gc.collect()  # what a failure left behind speaks up now
        caught.__exit__(None, None, None)
        sys.stderr = before
        os.dup2(kept, STDERR)
        os.close(kept)
        if own is not None:
            own.close()

    return restore


def _on_own_descriptor(stream: Any) -> TextIO | None:
    """The same stream on another descriptor; ``None`` where it is not on :data:`STDERR`."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if stream.fileno() == STDERR:
            return os.fdopen(os.dup(STDERR), "w", buffering=1, errors="backslashreplace")
    return None


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Inside, Ctrl-C is noted as well as raised.

    An exception that is raised in Python code which TVM calls comes back as TVM's own error.
    """
    pressed: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    except KeyboardInterrupt:
        pressed.append(signal.SIGINT)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def forget_stdout() -> None:
    """Nothing more can be printed; keep the interpreter from trying when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
