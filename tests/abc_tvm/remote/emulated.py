"""An emulated Raspberry Pi's RPC server at a tracker here, while a test needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from abc_tvm.remote import Address
from tests import qemu
from tests.abc_tvm.remote import servers

# TVM's program for servers starts Python again, which emulation cannot; this is what it starts.
SERVER = """
import sys
from tvm.rpc.server import PopenRPCServerState
port, tracker = int(sys.argv[1]), int(sys.argv[2])
PopenRPCServerState("127.0.0.1", port, port + 1, tracker_addr=("127.0.0.1", tracker), key="pi")
"""


@contextlib.contextmanager
def pi(cache: pytest.Cache, folder: Path) -> Iterator[tuple[Address, int, Path]]:
    """A tracker with one emulated device, the device's process group and its log."""
    system = qemu.arm64_system(cache)
    command = [*qemu.emulator("aarch64", system), f"{system}/usr/bin/python3.11", "-c", SERVER]
    home = {"PYTHONHOME": f"{system}/usr", "PYTHONPATH": f"{system}/site"}
    environment = [f"{k}={v}" for k, v in {**home, "TVM_USE_RUNTIME_LIB": "1"}.items()]
    with servers.tracker(folder) as tracker:
        port = tracker.rpartition(":")[2]
        log = folder / "pi.log"
        emulated = ["env", *environment, *command, str(servers.free_port()), port]
        with servers.process(emulated, log, "bind to") as group:
            servers.wait_for_device(tracker, "pi")
            yield Address("127.0.0.1", int(port), "pi"), group, log
