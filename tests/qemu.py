"""Other processors in emulation (qemu's user mode), and what has to be at hand for it.

Debian: ``qemu-user-static``, ``g++-aarch64-linux-gnu`` and ``gcc-arm-linux-gnueabihf``, whose
libraries the emulated programs use. TVM's wheels for AArch64 come from the package index and stay
in pytest's cache; so does a small AArch64 system with Python, made of Debian's packages without
touching the machine's own. A test skips, and says so, where one of these is missing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from abc_tvm.deploy.libraries import download_command

RUN_SECONDS = 300
_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "zlib1g")
_TRIPLES = {"aarch64": "aarch64-linux-gnu", "arm": "arm-linux-gnueabihf"}


def emulator(architecture: str, root: Path | None = None) -> list[str]:
    """The command that runs a program for ``aarch64`` or ``arm`` with the libraries of ``root``."""
    program = shutil.which(f"qemu-{architecture}-static") or shutil.which(f"qemu-{architecture}")
    if program is None:
        pytest.skip(f"needs qemu-{architecture} (Debian: apt install qemu-user-static)")
    folder = root or Path("/usr", _TRIPLES[architecture])
    if not (folder / "lib").exists():
        pytest.skip(f"needs {folder} (Debian: apt install g++-{_TRIPLES[architecture]})")
    return [program, "-L", str(folder)]


def cross_compiler(architecture: str) -> str:
    """The system's C compiler for ``aarch64`` or ``arm``."""
    name = f"{_TRIPLES[architecture]}-gcc"
    if shutil.which(name) is None:
        pytest.skip(f"needs {name} (Debian: apt install gcc-{_TRIPLES[architecture]})")
    return name


def run(command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def wheels(cache: pytest.Cache) -> Path:
    """A folder with TVM's wheels for AArch64, and those that they need under Python 3.11."""
    from importlib import metadata

    def fill(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        command = download_command("aarch64", metadata.version("apache-tvm"))
        extra = ["--platform=manylinux_2_27_aarch64", "numpy", "typing-extensions"]
        _attempt([*pip, *command, str(folder), *extra], "pip cannot fetch TVM's AArch64 wheels")

    return _cached(cache, "aarch64-wheels", fill)


def arm64_system(cache: pytest.Cache) -> Path:
    """The root of an AArch64 system with Python 3.11, NumPy and TVM in ``/site``."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: the AArch64 Python is made of Debian's packages")
    source = wheels(cache)

    def fill(folder: Path) -> None:
        state, store = folder / "apt/state", folder / "apt/cache"
        (state / "lists/partial").mkdir(parents=True)
        (store / "archives/partial").mkdir(parents=True)
        (folder / "apt/status").touch()
        apt = ["apt-get", "-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]
        apt += ["-o", f"Dir::State={state}", "-o", f"Dir::State::status={folder}/apt/status"]
        apt += ["-o", f"Dir::Cache={store}", "-o", "APT::Sandbox::User=root"]
        _attempt([*apt, "update"], "apt-get cannot list arm64 packages")
        install = ["--no-install-recommends", "-d", "-y", "install", *_PACKAGES]
        _attempt([*apt, *install], "apt-get cannot fetch Python 3.11 for arm64")
        for package in (store / "archives").glob("*.deb"):
            run(["dpkg-deb", "-x", package, folder])
        shutil.rmtree(folder / "apt")
        for wheel in source.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                names = [n for n in archive.namelist() if "libtvm_compiler" not in n]
                archive.extractall(folder / "site", names)

    return _cached(cache, "aarch64-system", fill)


def _cached(cache: pytest.Cache, name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of pytest's cache that ``fill`` makes once; several processes may ask."""
    folder = cache.mkdir("emulation") / name
    if not folder.exists():
        part = folder.with_name(f"{name}.{uuid.uuid4().hex}")
        part.mkdir()
        try:
            fill(part)
            part.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _attempt(command: Sequence[str], reason: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{reason}: {' '.join(done.stderr.split())[-200:]}")
