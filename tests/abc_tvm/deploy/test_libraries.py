"""TVM's two libraries: from a folder of wheels, from pip, or from what is installed here."""

from __future__ import annotations

import platform
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from abc_tvm.deploy import libraries
from abc_tvm.errors import ArtifactError, MissingDependencyError

TVM = metadata.version("apache-tvm")
FFI = metadata.version("apache-tvm-ffi")
OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"


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


def test_this_machine_has_its_own() -> None:
    found = libraries.collect(platform.machine(), TVM)
    assert set(found) == {"libtvm_ffi.so", "libtvm_runtime.so"}
    assert all(data.startswith(b"\x7fELF") for data in found.values())
    assert libraries.collect(OTHER, TVM) == {}, "nothing says where to take them"


def test_pip_fetches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> Any:
        asked.append(command)
        for name, inner in (
            (f"apache_tvm_ffi-{FFI}-cp311-x_{OTHER}.whl", "tvm_ffi/lib/libtvm_ffi.so"),
            (f"apache_tvm-{TVM}-py3-x_{OTHER}.whl", "tvm/lib/libtvm_runtime.so"),
        ):
            with zipfile.ZipFile(Path(command[-1], name), "w") as archive:
                archive.writestr(inner, inner)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", pip)
    found = libraries.collect(OTHER, TVM, download=True)
    assert found["libtvm_runtime.so"] == b"tvm/lib/libtvm_runtime.so"
    (command,) = asked
    assert f"apache-tvm=={TVM}" in command and f"apache-tvm-ffi=={FFI}" in command
    assert f"--platform={libraries.PLATFORMS[OTHER]}" in command and "--no-deps" in command
    assert not Path(command[-1]).exists(), "the wheels are gone afterwards"


def test_pip_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    done = SimpleNamespace(returncode=1, stdout=b"no\nnetwork")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(MissingDependencyError, match=r"could not fetch .*: no network: fetch them"):
        libraries.collect(OTHER, TVM, download=True)
