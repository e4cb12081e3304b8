"""A bundle for this machine: its files run; and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.cli import run_command
from abc_tvm.deploy import libraries
from abc_tvm.deploy.bundle import PROGRAM, bundle
from abc_tvm.errors import ArtifactError, MissingDependencyError
from tests import qemu
from tests.abc_tvm.small_networks import network

TVM = metadata.version("apache-tvm")
FFI = metadata.version("apache-tvm-ffi")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for this machine without the compiled runner, ``in.npz`` and ``want.npy``."""
    path = tmp_path_factory.mktemp("bundle")
    abc_tvm.compile(network(), lowering="bitserial").save(path / "m.so")
    x = np.random.default_rng(2).standard_normal((2, 8, 6, 6)).astype(np.float32)
    np.save(path / "want.npy", abc_tvm.load(path / "m.so", threads=1).run({"input": x})["output"])
    bundle(path / "m.so", path / "b", program=False)
    np.savez(path / "in.npz", input=x)
    return path


def test_run_py_needs_nothing_of_this_package(folder: Path) -> None:
    guard = "import sys; sys.modules['abc_tvm'] = None; sys.argv[0] = 'run.py'; "
    guard += "import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    options = ["-i", "in.npz", "-o", "py.npz", "--threads", "1", "--repeat", "2", "--number", "3"]
    said = qemu.run([sys.executable, "-c", guard, "b/run.py", "b/m.so", *options], folder)
    assert "(2 x 3 runs, 1 threads)" in said
    with np.load(folder / "py.npz") as found:
        np.testing.assert_array_equal(found["output"], np.load(folder / "want.npy"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros((1, 8, 6, 6), np.float32)}, "input 'input' is missing"),
        ({"input": np.zeros((1, 8, 6, 6))}, "float64 [1, 8, 6, 6] was given and float32"),
        ({"input": np.zeros((1, 8, 6), np.float32)}, "[1, 8, 6] was given"),
        ({"input": np.full((1, 8, 6, 6), np.nan, np.float32)}, "NaN or infinity"),
    ],
)
def test_run_py_refuses_with_one_line(
    folder: Path, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    refused_by_run_py(folder, message, "b/m.so", "-i", str(tmp_path / "bad.npz"))


def test_run_py_names_the_file_that_it_cannot_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("none.npz", "text.npz", "one.npy"):
        refused_by_run_py(folder, f"{name}: ", "b/m.so", "-i", str(tmp_path / name))
    refused_by_run_py(folder, "m2.ports: ", "b/m2.so", "--random")


def refused_by_run_py(folder: Path, message: str, *arguments: str) -> None:
    command = [sys.executable, "b/run.py", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


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


def test_bad_wheels_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no such folder of wheels"):
        libraries.collect("aarch64", TVM, tmp_path / "absent")
    with pytest.raises(ArtifactError, match=r"no apache_tvm_ffi-.*aarch64\.whl; fetch it: pip do"):
        libraries.collect("aarch64", TVM, tmp_path)
    wheel = tmp_path / f"apache_tvm_ffi-{FFI}-cp311-cp311-manylinux_2_28_aarch64.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(ArtifactError, match=r"aarch64\.whl: no wheel with libtvm_ffi\.so"):
        libraries.collect("aarch64", TVM, tmp_path)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tvm_ffi/lib/libtvm_ffi.so", b"ffi")
    with pytest.raises(ArtifactError, match=r"no apache_tvm-.*aarch64\.whl"):
        libraries.collect("aarch64", TVM, tmp_path)
    with zipfile.ZipFile(tmp_path / f"apache_tvm-{TVM}-py3-none-x_aarch64.whl", "w") as archive:
        archive.writestr("tvm/lib/libtvm_runtime.so", b"runtime")
    found = libraries.collect("aarch64", TVM, tmp_path)
    assert found == {"libtvm_ffi.so": b"ffi", "libtvm_runtime.so": b"runtime"}


def test_there_is_no_runtime_for_32_bits() -> None:
    with pytest.raises(MissingDependencyError, match=r"no runtime for arm; .*--format c"):
        libraries.download_command("arm", TVM)


def test_what_is_no_artifact_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.so").write_bytes(b"\x7fELF and no more")
    assert run_command(["bundle", str(tmp_path / "m.so"), "-o", str(tmp_path / "b")]) == 2
    printed = capfd.readouterr()
    assert "m.so: cut short" in printed.err and len(printed.err.splitlines()) == 1
    assert not (tmp_path / "b").exists()
    both = ["--wheels", str(tmp_path), "--download", "-o", str(tmp_path / "b")]
    assert run_command(["bundle", str(tmp_path / "m.so"), *both]) == 2
    assert "either --wheels DIR or --download" in capfd.readouterr().err
