"""The command line in this process: exit code and what reaches file descriptor 2."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from abc_tvm.cli import FAULT, run_command

from .judge import Outcome, reason

MOST_MEMORY = 1 << 30
"""Bytes that one case may take beyond what the process has."""

RAW = re.compile(rf"\b[A-Z]\w+(Error|Exception): |Check failed|Traceback|0x[0-9a-f]{{6,}}|{FAULT}")
"""What no line should hold: a fault, or the words of an exception that nobody foresaw."""

_ADDRESSES = 6 << 30


class Judged(Exception):
    """An outcome that ends the case."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.cause)
        self.outcome = outcome


def limit_addresses() -> None:
    """Allocations far beyond what is allowed fail, instead of taking the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (_used("VmSize") + _ADDRESSES, resource.RLIM_INFINITY))


def command(*arguments: str) -> str:
    """Run a command that must succeed or refuse in one line; what it prints.

    Raises:
        Judged: It refused; or it ended otherwise, said more than a line, or took too much memory.
    """
    code, printed, said, taken = _run(arguments)
    if taken > MOST_MEMORY:
        raise Judged(
            Outcome("error", f"memory of {arguments[0]}", f"{taken >> 20} MB: {said[:200]}")
        )
    lines = said.splitlines()
    if code == 0:
        return printed
    if code == 1:
        raise Judged(Outcome("wrong", f"{arguments[0]} exits 1", said[-300:]))
    if code != 2:
        raise Judged(
            Outcome("error", f"exit {code}: {reason(lines[-1] if lines else '')}", said[-400:])
        )
    if len(lines) != 1 or not lines[0].isprintable():
        raise Judged(Outcome("error", f"{len(lines)} lines of {arguments[0]}", repr(said[:500])))
    raw = RAW.search(lines[0])
    if raw is not None:
        raise Judged(Outcome("error", f"{raw[0]}: {reason(lines[0][:200])}", said[-600:]))
    raise Judged(Outcome("refused", reason(lines[0].removeprefix("abc-tvm: error: ")), lines[0]))


def _run(arguments: Sequence[str]) -> tuple[int, str, str, int]:
    """Exit code, standard output, all that went to descriptor 2, and bytes of memory taken."""
    before = _reset_peak()
    printed = io.StringIO()
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        errors = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
        try:
            with (
                contextlib.redirect_stdout(printed),
                contextlib.redirect_stderr(errors),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                code = run_command(list(arguments))
        finally:
            errors.close()
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        said = file.read().decode(errors="backslashreplace")
    return code, printed.getvalue(), said, _used("VmHWM") - before


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _used("VmRSS")


def _used(name: str) -> int:
    """Bytes, from the process's status."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0
