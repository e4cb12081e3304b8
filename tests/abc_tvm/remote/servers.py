"""TVM's own RPC servers and trackers on the loopback interface, while a test needs them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.children import QUICK

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(
    command: list[str], log: Path, ready: str, environment: dict[str, str] | None = None
) -> Iterator[int]:
    """A process group that says ``ready`` in ``log``; yields its number, ends all of it."""
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env={**QUICK, "TVM_NUM_THREADS": "2", **(environment or {})},
            start_new_session=True,
        )
        try:
            wait_for(log, ready)
            yield child.pid
        finally:
            for step in (signal.SIGCONT, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, step)
            child.wait(10)


def wait_for(log: Path, text: str, seconds: float = START_SECONDS) -> None:
    end = time.monotonic() + seconds
    while text not in log.read_text(errors="replace"):
        assert time.monotonic() < end, f"no {text!r} in {log}:\n{log.read_text(errors='replace')}"
        time.sleep(0.05)


@contextlib.contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[str, int, Path]]:
    """Address, process group and log of an RPC server."""
    port = free_port()
    log = folder / f"server{port}.log"
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--port-end", str(port + 1), *options]
    with process(command, log, "bind to") as group:
        yield f"127.0.0.1:{port}", group, log


@contextlib.contextmanager
def tracker(folder: Path) -> Iterator[str]:
    """Address of a tracker."""
    port = free_port()
    command = [sys.executable, "-m", "tvm.exec.rpc_tracker", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--port-end", str(port + 1)]
    with process(command, folder / f"tracker{port}.log", "bind to"):
        yield f"127.0.0.1:{port}"


def wait_for_device(tracker_place: str, key: str) -> None:
    """Until the tracker knows a free device of that key."""
    from tvm import rpc

    host, _, port = tracker_place.rpartition(":")
    end = time.monotonic() + START_SECONDS
    connection = rpc.connect_tracker(host, int(port))
    while not connection.summary()["queue_info"].get(key, {}).get("free"):
        assert time.monotonic() < end, connection.summary()
        time.sleep(0.1)
    connection.close()
