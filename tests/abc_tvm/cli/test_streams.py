"""What libraries write to stderr goes nowhere; what the command says is one line, and arrives."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from abc_tvm.cli import streams
from tests.abc_tvm.cli.commands import Capture


def program(text: str, **options: object) -> subprocess.CompletedProcess[str]:
    start = "import os, sys\nfrom abc_tvm.cli import streams\n"
    command = [sys.executable, "-c", start + text]
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_one_line(capfd: Capture) -> None:
    streams.say("a\nb\x1b[31m")
    assert capfd.readouterr() == ("", "abc-tvm: a b\\x1b[31m\n")


def test_a_stderr_that_nobody_can_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    streams.say("text")


def test_libraries_are_silent_and_python_is_not(capfd: Capture) -> None:
    restore = streams.silence_libraries()
    try:
        os.write(2, b"library")
        warnings.warn("python", stacklevel=1)
        print("ours", file=sys.stderr)
    finally:
        restore()
    os.write(2, b"again\n")
    err = capfd.readouterr().err
    assert "library" not in err and "python" not in err
    assert "ours" in err and "again" in err


def test_streams_that_were_closed() -> None:
    done = program("streams.open_all()\nprint(open(os.devnull).fileno() > 2, file=sys.stderr)",
                   preexec_fn=lambda: os.close(1))  # fmt: skip
    assert done.stderr == "True\n", "no file may become number 1"
    done = program("streams.open_all()\nprint('x')", preexec_fn=lambda: os.close(1))
    assert "it is closed" in done.stderr


def test_names_that_the_encoding_lacks() -> None:
    done = program(
        "streams.open_all()\nprint('\u03b1')", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout == "\\u03b1\n" and done.returncode == 0


def test_ctrl_c_is_noted_even_where_a_library_takes_it_for_its_own() -> None:
    before = signal.getsignal(signal.SIGINT)
    # As a library does that makes another error of it.
    with streams.interrupts() as pressed, contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert pressed == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), streams.interrupts():
        raise KeyboardInterrupt


def test_another_thread_gets_no_signals() -> None:
    found: list[list[int]] = []

    def work() -> None:
        with streams.interrupts() as pressed:
            found.append(pressed)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]


def test_nothing_more_is_printed() -> None:
    done = program("streams.forget_stdout()\nprint('y')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
