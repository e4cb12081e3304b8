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
from tests.abc_tvm.remote import emulated, servers
from tests.abc_tvm.small_networks import network

pytest.importorskip("tornado", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")
pytestmark = pytest.mark.slow

TIMEOUT_S = 60


@pytest.fixture
def pi(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Address, int, Path]]:
    with emulated.pi(request.config.cache, tmp_path) as found:
        yield found


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
