"""``run`` and ``bench`` on a device: the local numbers, or one clear line in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import abc_tvm
from abc_tvm.cli import run_command
from tests.abc_tvm.remote import servers
from tests.abc_tvm.small_networks import network, write

pytest.importorskip("tornado", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")
pytest.importorskip("psutil", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")

Capture = pytest.CaptureFixture[str]
FOREVER = ["--random", "--number", "1000000000", "--repeat", "1"]
LIMIT_S = 2
SLACK_S = 15  # starting Python and TVM on a busy machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("remote")
    write(path / "m.onnx", network())
    abc_tvm.compile(network(), lowering="bitserial").save(path / "m.so")
    abc_tvm.compile(network(), target="rpi4", lowering="bitserial").save(path / "pi.so")
    x = np.random.default_rng(1).standard_normal((3, 8, 6, 6)).astype(np.float32)
    np.savez(path / "in.npz", input=x)
    return path


@pytest.fixture(scope="module")
def place(folder: Path) -> Iterator[str]:
    with servers.server(folder) as (address, _, _):
        yield address


def answer(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    assert run_command([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def complaint(capsys: Capture, *arguments: str | Path) -> str:
    """The one line of a command that fails, in time."""
    capsys.readouterr()
    start = time.monotonic()
    code = run_command([*map(str, arguments), "--rpc-timeout", str(LIMIT_S)])
    assert time.monotonic() - start < LIMIT_S + SLACK_S
    said = capsys.readouterr()
    assert code == 2 and said.out == "" and said.err.count("\n") == 1, said
    return said.err


def test_run_equals_the_local_run(folder: Path, place: str, capsys: Capture) -> None:
    command = ["run", folder / "m.so", "-i", folder / "in.npz", "--repeat", "3", "--number", "2"]
    here = answer(capsys, *command, "-o", folder / "here.npz", "--threads", "1")
    remote = ["-o", folder / "there.npz", "--rpc", place, "--threads", "1"]
    there = answer(capsys, *command, *remote)
    assert there["device"] == place and here["device"] is None
    same = set(here) - {"device", "median_ms", "min_ms"}
    assert {k: there[k] for k in same} == {k: here[k] for k in same}
    assert 0 < there["min_ms"] <= there["median_ms"]
    with np.load(folder / "here.npz") as a, np.load(folder / "there.npz") as b:
        np.testing.assert_array_equal(a["output"], b["output"])


def test_bench(folder: Path, place: str, capsys: Capture) -> None:
    facts = answer(capsys, "bench", folder / "m.onnx", "--repeat", "3", "--rpc", place)
    assert [r["engine"] for r in facts["results"]] == ["abc-tvm", "tvm-float"]
    assert facts["device"] == facts["machine"] == place
    said = complaint(capsys, "bench", folder / "m.onnx", "--against", "onnxruntime", "--rpc", place)
    assert "onnxruntime does not run on a remote device" in said


def test_wrong_inputs_and_threads(folder: Path, place: str, capsys: Capture) -> None:
    np.savez(folder / "bad.npz", input=np.zeros((1, 8, 6, 5), np.float32))
    command = ["run", folder / "m.so", "--rpc", place]
    assert "[1, 8, 6, 5] was given" in complaint(capsys, *command, "-i", folder / "bad.npz")
    np.savez(folder / "nan.npz", input=np.full((1, 8, 6, 6), np.nan, np.float32))
    assert "NaN or infinite" in complaint(capsys, *command, "-i", folder / "nan.npz")
    assert "TVM_NUM_THREADS=9" in complaint(capsys, *command, "--random", "--threads", "9")


def test_wrong_architecture(folder: Path, place: str, capsys: Capture) -> None:
    said = complaint(capsys, "run", folder / "pi.so", "--random", "--rpc", place)
    assert "compiled for aarch64 (target rpi4)" in said and f"{place} is x86_64" in said


def test_absent(folder: Path, capsys: Capture) -> None:
    port = servers.free_port()
    command = ["run", folder / "m.so", "--random"]
    said = complaint(capsys, *command, "--rpc", f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}: nothing accepts connections" in said
    tracker = ["--rpc-tracker", f"127.0.0.1:{port}", "--rpc-key", "pi"]
    assert "nothing accepts connections" in complaint(capsys, *command, *tracker)
    assert "unknown host" in complaint(capsys, *command, "--rpc", "no.such.host.invalid:9090")


def test_something_else_or_silent(folder: Path, capsys: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        command = ["run", folder / "m.so", "--random"]
        assert f"no answer within {LIMIT_S} s" in complaint(capsys, *command, "--rpc", place)
        tracker = ["--rpc-tracker", place, "--rpc-key", "pi"]
        assert f"no answer within {LIMIT_S} s" in complaint(capsys, *command, *tracker)


def test_busy_killed_and_frozen(folder: Path, capsys: Capture) -> None:
    with servers.server(folder) as (place, group, log):
        command = ["run", folder / "m.so", "--rpc", place]
        with _in_background(folder, "--rpc", place) as running:
            servers.wait_for(log, "load_module")
            assert "busy" in complaint(capsys, *command, "--random")
            os.killpg(group, signal.SIGKILL)
            _, said = running.communicate(timeout=LIMIT_S + SLACK_S)
        assert running.returncode == 2
        assert said.count("\n") == 1 and "the device ended the session while measuring" in said
    with servers.server(folder) as (place, group, log):

        def freeze() -> None:
            servers.wait_for(log, "load_module")
            os.killpg(group, signal.SIGSTOP)

        thread = threading.Thread(target=freeze)
        thread.start()
        said = complaint(capsys, "run", folder / "m.so", *FOREVER, "--rpc", place)
        thread.join()
        assert f"{place}: silent for {LIMIT_S} s while" in said


def test_interrupted(folder: Path) -> None:
    with servers.server(folder) as (place, _, log):
        with _in_background(folder, "--rpc", place) as running:
            servers.wait_for(log, "load_module")
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=SLACK_S)
        assert (running.returncode, said) == (130, "abc-tvm: interrupted\n")


@pytest.mark.slow
def test_tracker(folder: Path, capsys: Capture) -> None:
    with servers.tracker(folder) as tracker:
        options = ["--rpc-tracker", tracker, "--rpc-key", "pi"]
        command = ["run", folder / "m.so", *options]
        assert "no device of that key (it has: none)" in complaint(capsys, *command, "--random")
        with servers.server(folder, "--tracker", tracker, "--key", "pi") as (place, _, log):
            servers.wait_for_device(tracker, "pi")
            out = folder / "tracked.npz"
            facts = answer(capsys, *command, "-i", folder / "in.npz", "-o", out)
            assert facts["device"] == f"tracker {tracker}, key 'pi'"
            session = abc_tvm.load(folder / "m.so", threads=1)
            with np.load(out) as found, np.load(folder / "in.npz") as given:
                np.testing.assert_array_equal(found["output"], session.run(dict(given))["output"])
            other = ["--rpc-tracker", tracker, "--rpc-key", "tpu"]
            said = complaint(capsys, "run", folder / "m.so", "--random", *other)
            assert "no device of that key (it has: pi)" in said
            direct = complaint(capsys, "run", folder / "m.so", "--random", "--rpc", place)
            assert "go through its tracker" in direct
            log.write_text("")
            with _in_background(folder, *options) as running:
                servers.wait_for(log, "load_module")
                said = complaint(capsys, *command, "--random")
                assert "none of its 1 device(s) became free" in said
                running.kill()


def _in_background(folder: Path, *options: str) -> subprocess.Popen[str]:
    """``abc-tvm run`` that measures for ever."""
    command = [sys.executable, "-m", "abc_tvm", "run", str(folder / "m.so"), *FOREVER, *options]
    return subprocess.Popen(
        [*command, "--rpc-timeout", "120"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """A suite that runs in a shell's background ignores Ctrl-C, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
