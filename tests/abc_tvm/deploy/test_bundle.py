"""A bundle for this machine: its files run; and what is refused."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.cli import run_command
from abc_tvm.deploy.bundle import PROGRAM
from tests import qemu
from tests.abc_tvm.small_networks import network

TVM = metadata.version("apache-tvm")
FFI = metadata.version("apache-tvm-ffi")


def test_cmake_builds_the_runner(folder: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("needs cmake and g++ (Debian: apt install cmake g++)")
    qemu.run(["cmake", "-S", folder / "b/runner", "-B", tmp_path])
    built = qemu.run(["cmake", "--build", tmp_path])
    assert "warning" not in built
    options = ["-i", "in.npz", "-o", "cpp.npz", "--threads", "1", "--repeat", "2", "--number", "3"]
    said = qemu.run([tmp_path / "runner", "b/m.so", *options], folder)
    assert "(2 x 3 runs, 1 threads)" in said
    want = np.load(folder / "want.npy")
    with np.load(folder / "cpp.npz") as found:
        np.testing.assert_array_equal(found["output"], want)
    # Raw numbers: the batch follows from the size.
    with np.load(folder / "in.npz") as arrays:
        arrays["input"].tofile(folder / "in.bin")
        np.save(folder / "in.npy", arrays["input"])
    for name in ("in.bin", "in.npy"):
        qemu.run([tmp_path / "runner", "b/m.so", "-i", name, "-o", "out.bin"], folder)
        np.testing.assert_array_equal(
            np.fromfile(folder / "out.bin", np.float32).reshape(want.shape), want
        )


def test_the_command_prints_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bundle", str(folder / "m.so"), "-o", str(folder / "c"), "--no-program"]
    assert run_command(command) == 0
    printed = capsys.readouterr().out
    assert "libtvm_runtime.so" in printed and "MB" in printed
    assert not (folder / "c" / PROGRAM).exists()
    assert (folder / "c/m.ports").read_text() == (
        "input float32 4 -1 8 6 6 input\noutput float32 4 -1 4 6 6 output\nbinarized\n"
    )


def test_without_wheels_the_readme_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.importorskip("ziglang", reason="needs an AArch64 linker (pip install ziglang)")
    abc_tvm.compile(network(), target="rpi4").save(tmp_path / "m.so")
    command = ["bundle", str(tmp_path / "m.so"), "-o", str(tmp_path / "b"), "--no-program"]
    assert run_command(command) == 0
    assert "not in it yet" in capsys.readouterr().out
    readme = (tmp_path / "b/README.txt").read_text()
    assert f"--platform=manylinux_2_28_aarch64 --python-version=3.11 apache-tvm=={TVM}" in readme
    assert not (tmp_path / "b/lib").exists()


def test_what_is_no_artifact_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.so").write_bytes(b"\x7fELF and no more")
    assert run_command(["bundle", str(tmp_path / "m.so"), "-o", str(tmp_path / "b")]) == 2
    printed = capfd.readouterr()
    assert "m.so: cut short" in printed.err and len(printed.err.splitlines()) == 1
    assert not (tmp_path / "b").exists()
    both = ["--wheels", str(tmp_path), "--download", "-o", str(tmp_path / "b")]
    assert run_command(["bundle", str(tmp_path / "m.so"), *both]) == 2
    assert "either --wheels DIR or --download" in capfd.readouterr().err
