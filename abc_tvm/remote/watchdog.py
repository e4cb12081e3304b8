"""A helper process that is asked one thing at a time, and ended when it is silent for too long.

Whatever blocks in there (a server that was switched off, a network that swallows packets), this
process waits no longer than it said, Ctrl-C works, and no helper outlives the process that
started it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any

from abc_tvm.errors import UserError

_END_S = 5.0

_START = """
import runpy, sys
sys.modules["torch"] = None
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
"""TVM imports torch where it is installed, which no helper needs: 3 s instead of 1, and its memory,
for each of them."""


class Silence(Exception):
    """No answer in time. ``str()`` is what the helper wanted said in that case, or empty."""


class Death(Exception):
    """The helper ended without an answer.

    ``str()`` is the signal that ended it, or the last line that it wrote.
    """


class HelperRefusal(Exception):
    """The helper answered with an error: its kind and its one line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """What a helper answered."""

    value: Any


class Helper:
    """``python -m MODULE FD``, which answers the requests that come through the pipe ``FD``.

    Messages of the helper are ``("at", text)``: what to report if nothing more is heard;
    ``("step", text, seconds)``: the same, and it may be silent for so long from now on (``None``:
    for ever); ``("done", value)``; and ``("refused", kind, text)``.
    """

    def __init__(self, module: str) -> None:
        self._said = ""
        self._end: float | None = None
        try:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the helper
        except OSError as error:
            raise UserError(
                f"temporary files cannot be written ({error.strerror}); make room, or set TMPDIR"
            ) from error
        self._pipe, theirs = Pipe()
        # A session of its own: Ctrl-C reaches this process, which then ends the helper.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        theirs.close()

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, request: tuple[Any, ...], seconds: float) -> Any:
        """The value that the helper answers within ``seconds``.

        Raises:
            Silence: There was none; the helper has been ended.
            Death: The helper has ended by itself.
            HelperRefusal: It answered with an error.
        """
        self.begin(request, seconds)
        while (answer := self.answer(self.left)) is None:
            pass
        return answer.value

    def begin(self, request: tuple[Any, ...], seconds: float) -> None:
        """Ask, and do not wait; :meth:`answer` brings what comes back. Raises ``Death``."""
        if self._pipe.closed:
            raise Death("it was given up before")
        self._said, self._end = "", time.monotonic() + seconds
        try:
            self._pipe.send(request)
        except (EOFError, ConnectionError) as error:
            raise Death(self._last_line()) from error

    @property
    def left(self) -> float | None:
        """Seconds that the helper may still be silent; ``None``: for ever."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def answer(self, seconds: float | None = 0.0) -> Answer | None:
        """The answer to :meth:`begin` if it comes within ``seconds``, else ``None``.

        Raises: As :meth:`ask`.
        """
        try:
            while self._pipe.poll(seconds):
                kind, *content = self._pipe.recv()
                if kind == "done":
                    return Answer(content[0])
                if kind == "refused":
                    raise HelperRefusal(*content)
                self._said = content[0]
                if kind == "step":
                    limit = content[1]
                    self._end = None if limit is None else time.monotonic() + limit
                    return None  # the caller's ``seconds`` were of the step before
        except (EOFError, ConnectionError) as error:
            raise Death(self._last_line()) from error
        if self.left == 0.0:
            self.close()
            raise Silence(self._said)
        return None

    @property
    def pipe(self) -> Connection:
        """What ``multiprocessing.connection.wait`` waits on."""
        return self._pipe

    def close(self) -> None:
        """End the helper, whatever it is doing."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(_END_S)
        self._pipe.close()
        self._log.close()

    def _last_line(self) -> str:
        code = self._process.wait(_END_S)
        if code < 0:
            return signal.Signals(-code).name
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def lifeline(pipe: Connection) -> None:
    """For the helper: end this process when the one that started it is gone."""
    import os
    import select
    import threading

    poller = select.poll()
    poller.register(pipe.fileno(), 0)  # nothing but the other end's hang-up

    def wait() -> None:
        poller.poll()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
