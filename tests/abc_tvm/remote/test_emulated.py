"""A tracker here and an emulated Raspberry Pi's RPC server: run, time, refuse, die mid-run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.errors import DeviceError, TargetError
from abc_tvm.remote import Address, connect
from tests import qemu
from tests.abc_tvm.remote import servers
from tests.abc_tvm.small_networks import network

pytest.importorskip("tornado", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")
pytestmark = pytest.mark.slow

# TVM's program for servers starts Python again, which emulation cannot; this is what it starts.
SERVER = """
import sys
from tvm.rpc.server import PopenRPCServerState
port, tracker = int(sys.argv[1]), int(sys.argv[2])
PopenRPCServerState("127.0.0.1", port, port + 1, tracker_addr=("127.0.0.1", tracker), key="pi")
"""
TIMEOUT_S = 60


@pytest.fixture
def pi(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Address, int, Path]]:
    """A tracker with one emulated device, the device's process group and its log."""
    system = qemu.arm64_system(request.config.cache)
    command = [*qemu.emulator("aarch64", system), f"{system}/usr/bin/python3.11", "-c", SERVER]
    home = {"PYTHONHOME": f"{system}/usr", "PYTHONPATH": f"{system}/site"}
    environment = [f"{k}={v}" for k, v in {**home, "TVM_USE_RUNTIME_LIB": "1"}.items()]
    with servers.tracker(tmp_path) as tracker:
        port = tracker.rpartition(":")[2]
        log = tmp_path / "pi.log"
        emulated = ["env", *environment, *command, str(servers.free_port()), port]
        with servers.process(emulated, log, "bind to") as group:
            servers.wait_for_device(tracker, "pi")
            yield Address("127.0.0.1", int(port), "pi"), group, log


def test_run_time_refuse_and_die(pi: tuple[Address, int, Path], tmp_path: Path) -> None:
    address, group, log = pi
    abc_tvm.compile(network(), lowering="bitserial").save(tmp_path / "here.so")
    abc_tvm.compile(network(), target="rpi4", lowering="bitserial").save(tmp_path / "pi.so")
    x = np.random.default_rng(2).standard_normal((3, 8, 6, 6)).astype(np.float32)
    wanted = abc_tvm.load(tmp_path / "here.so", threads=1).run(x)["output"]
    with connect(address, TIMEOUT_S) as device:
        ours = device.load(tmp_path / "pi.so", threads=1)
        np.testing.assert_array_equal(ours.run(x)["output"], wanted)
        assert 0 < ours.time(3) < TIMEOUT_S * 1e3
        with pytest.raises(TargetError, match=r"compiled for x86_64 .* cannot load it"):
            device.load(tmp_path / "here.so")
        with pytest.raises(DeviceError, match="TVM_NUM_THREADS=64"):
            device.load(tmp_path / "pi.so", threads=64)
    servers.wait_for(log, "finish serving")
    log.write_text("")
    command = [sys.executable, "-m", "abc_tvm", "run", str(tmp_path / "pi.so"), "--random"]
    command += ["--rpc-tracker", address.place, "--rpc-key", "pi", "--rpc-timeout", "60"]
    command += ["--number", "1000000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        servers.wait_for(log, "load_module")
        os.killpg(group, signal.SIGKILL)
        _, said = running.communicate(timeout=90)
    assert running.returncode == 2
    assert said.count("\n") == 1 and "the device ended the session while" in said
