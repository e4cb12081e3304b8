"""A helper process that is asked one thing at a time, and ended when it is silent for too long.

Whatever blocks in there (a server that was switched off, a network that swallows packets), this
process waits no longer than it said, Ctrl-C works, and no helper outlives the process that
started it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any

_END_S = 5.0


class Silence(Exception):
    """No answer in time. ``str()`` is what the helper wanted said in that case, or empty."""


class Death(Exception):
    """The helper ended without an answer. ``str()`` is the last line that it wrote."""


class Refusal(Exception):
    """The helper answered with an error: its kind and its one line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Helper:
    """``python -m MODULE FD``, which answers the requests that come through the pipe ``FD``.

    Messages of the helper are ``("at", text)``: what to report if nothing more is heard;
    ``("done", value)``; and ``("refused", kind, text)``.
    """

    def __init__(self, module: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the helper
        self._pipe, theirs = Pipe()
        # A session of its own: Ctrl-C reaches this process, which then ends the helper.
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno())],
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
            Refusal: It answered with an error.
        """
        if self._pipe.closed:
            raise Death("it was given up before")
        end = time.monotonic() + seconds
        said = ""
        try:
            self._pipe.send(request)
            while self._pipe.poll(max(0.0, end - time.monotonic())):
                kind, *content = self._pipe.recv()
                if kind == "done":
                    return content[0]
                if kind == "refused":
                    raise Refusal(*content)
                said = content[0]
        except (EOFError, ConnectionError) as error:
            raise Death(self._last_line()) from error
        self.close()
        raise Silence(said)

    def close(self) -> None:
        """End the helper, whatever it is doing."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(_END_S)
        self._pipe.close()
        self._log.close()

    def _last_line(self) -> str:
        self._process.wait(_END_S)
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
