"""Programs that link for a device: the system's compiler, a cross-compiler, or Zig's.

The ``ziglang`` package carries a C compiler and linker with the libraries of many machines, so a
``pip install`` is all that cross-compiling needs. It is told to link against glibc 2.28, the
oldest that TVM's own wheels run on: Raspberry Pi OS 11 has 2.31. A system's cross-compiler links
against the system's glibc, which may be newer than the device's: harmless for a library of
kernels, which takes four old functions from it, and not for a program (``__libc_start_main``).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from abc_tvm.errors import MissingDependencyError
from abc_tvm.targets import Device

GLIBC = "2.28"
"""What TVM's manylinux_2_28 wheels need."""


@dataclass(frozen=True)
class Toolchain:
    """``command`` takes a C compiler's arguments; ``program`` is its name for people."""

    command: tuple[str, ...]
    program: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path) -> None:
        """Compile or link.

        Raises:
            MissingDependencyError: The program failed, and how.
        """
        with tempfile.TemporaryDirectory(prefix="abc-tvm-") as scratch:
            environment = {**os.environ, **self.environment}
            if self.environment:
                environment["ZIG_LOCAL_CACHE_DIR"] = scratch
            done = subprocess.run(
                [*self.command, *map(str, arguments)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            detail = " ".join(done.stdout.decode(errors="replace").split())[:300]
            raise MissingDependencyError(f"the linker {self.program} failed: {detail}")


Finder = Callable[[Device], "Toolchain | None"]


def for_library(device: Device) -> Toolchain:
    """What links a shared library for ``device``: the system's own tools before Zig's.

    Raises:
        MissingDependencyError: There is nothing; the message says what to install.
    """
    return _first(device, (_system, _zig))


def for_program(device: Device) -> Toolchain:
    """What links a program for ``device``: Zig, for the old glibc, before the system's own tools.

    Raises:
        MissingDependencyError: As :func:`for_library`.
    """
    return _first(device, (_zig, _system))


def _first(device: Device, finders: Sequence[Finder]) -> Toolchain:
    for find in finders:
        found = find(device)
        if found is not None:
            return found
    if _is_host(device):
        raise MissingDependencyError(
            "no C compiler to link with; install one (Debian: apt install gcc libc6-dev), name it "
            "in CC, or pip install ziglang"
        )
    architecture = device.triple.partition("-")[0]
    raise MissingDependencyError(
        f"target {device.name}: no linker for {architecture}: pip install ziglang (the extra "
        f"abc-tvm[cross]), or install {device.triple}-gcc (Debian: apt install "
        f"gcc-{device.triple.replace('_', '-')})"
    )


def _is_host(device: Device) -> bool:
    return device.triple.partition("-")[0] == platform.machine()


def _system(device: Device) -> Toolchain | None:
    if _is_host(device):
        from tvm.support import cc

        # TVM looks at CXX and CC, then at the usual names.
        found = cc.get_cc()
        return Toolchain((str(found),), str(found)) if found else None
    for name in (f"{device.triple}-gcc", f"{device.triple}-g++"):
        if shutil.which(name):
            return Toolchain((name,), name)
    return None


def _zig(device: Device) -> Toolchain | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    architecture, _, system = device.triple.partition("-")
    command = (sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-{system}.{GLIBC}")
    return Toolchain(command, "ziglang", {"ZIG_GLOBAL_CACHE_DIR": str(_zig_cache())})


def _zig_cache() -> Path:
    """A folder that Zig can write: the user's choice, their cache, or one for temporary files."""
    chosen = os.environ.get("ZIG_GLOBAL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base, "abc-tvm", "zig")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        # A home that is missing or read-only, as in many containers.
        pass
    fallback = Path(tempfile.gettempdir(), f"abc-tvm-zig-{os.getuid()}")
    # Of this user alone: another one's could hold anything.
    fallback.mkdir(mode=0o700, exist_ok=True)
    if fallback.stat().st_uid != os.getuid():
        raise MissingDependencyError(
            f"{fallback}: belongs to another user; set ZIG_GLOBAL_CACHE_DIR to a folder of yours"
        )
    return fallback
