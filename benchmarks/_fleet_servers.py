"""RPC servers on this machine that look as far away as a device: a relay delays what passes.

    python benchmarks/_fleet_servers.py MILLISECONDS PORT...

is the relay: it listens on 127.0.0.2 at every port and passes on to 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

KEY = "here"
RELAY = "127.0.0.2"
SERVER = "127.0.0.1"


@contextlib.contextmanager
def fleet(count: int, delay_ms: float, folder: Path) -> Iterator[str]:
    """The address of a tracker with ``count`` servers; each message takes ``delay_ms``."""
    tracker = f"{SERVER}:{_free_port()}"
    ports = [_free_port() for _ in range(count)]
    here = RELAY if delay_ms else SERVER
    relay = [sys.executable, __file__, str(delay_ms), *map(str, ports)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_process(_command("tracker", tracker), folder / "tracker.log"))
        for port in ports:
            command = _command("server", f"{SERVER}:{port}")
            command += ["--tracker", tracker, "--key", KEY, "--custom-addr", here]
            stack.enter_context(_process(command, folder / f"{port}.log"))
        if delay_ms:
            stack.enter_context(_process(relay, folder / "relay.log"))
        yield tracker


def _command(kind: str, place: str) -> list[str]:
    host, _, port = place.partition(":")
    command = [sys.executable, "-m", f"tvm.exec.rpc_{kind}", "--host", host]
    return [*command, "--port", port, "--port-end", str(int(port) + 1)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((SERVER, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    """A group of processes that says that it has bound its port."""
    with log.open("wb") as stream:
        environment = {**os.environ, "TVM_NUM_THREADS": "1"}
        child = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=environment, start_new_session=True
        )
    try:
        end = time.monotonic() + 60
        while "bind to" not in log.read_text(errors="replace"):
            if time.monotonic() > end or child.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: does not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


async def _relay(seconds: float, ports: list[int]) -> None:
    async def serve(port: int) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answers, there = await asyncio.open_connection(SERVER, port)
            await asyncio.gather(
                _pass_on(reader, there, seconds), _pass_on(answers, writer, seconds)
            )

        await asyncio.start_server(connected, RELAY, port)

    await asyncio.gather(*(serve(port) for port in ports))
    print("bind to", RELAY, ports, flush=True)
    await asyncio.Event().wait()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(1 << 20):
        loop.call_later(seconds, writer.write, data)
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    asyncio.run(_relay(float(sys.argv[1]) / 1e3, [int(port) for port in sys.argv[2:]]))
