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
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from abc_tvm.errors import MissingDependencyError
from abc_tvm.files import reason_of
from abc_tvm.scratch import refuse_full, scratch, unusable

GLIBC = "2.28"
"""What TVM's manylinux_2_28 wheels need."""


@dataclass(frozen=True)
class Toolchain:
    """Commands that take a C and a C++ compiler's arguments; ``program`` is a name for people."""

    c: tuple[str, ...]
    cxx: tuple[str, ...]
    program: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str | Path, cxx: bool = False) -> None:
        """Compile or link; ``cxx`` takes the C++ compiler.

        Raises:
            MissingDependencyError: The program failed, and how.
        """
        with scratch() as folder:
            environment = {**os.environ, **self.environment}
            if self.environment:
                environment["ZIG_LOCAL_CACHE_DIR"] = str(folder)
            try:
                done = subprocess.run(
                    [*(self.cxx if cxx else self.c), *map(str, arguments)],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            except OSError as error:
                raise MissingDependencyError(
                    f"the compiler {self.program} cannot be started: {reason_of(error)}"
                ) from error
        if done.returncode:
            detail = " ".join(done.stdout.decode(errors="replace").split())[:300]
            refuse_full(detail)
            raise MissingDependencyError(f"the compiler {self.program} failed: {detail}")


Finder = Callable[[str], "Toolchain | None"]


def for_library(triple: str, name: str) -> Toolchain:
    """What links a shared library: the system's own tools before Zig's.

    Args:
        triple: The machine, as LLVM says it (``aarch64-linux-gnu``).
        name: The target's name, for messages.

    Raises:
        MissingDependencyError: There is nothing; the message says what to install.
    """
    return _first(triple, name, (_system, _zig))


def for_program(triple: str, name: str) -> Toolchain:
    """What links a program: Zig, for the old glibc, before the system's own tools.

    Its ``cxx`` is the command for C++.

    Raises:
        MissingDependencyError: As :func:`for_library`.
    """
    return _first(triple, name, (_zig, _system))


def _first(triple: str, name: str, finders: Sequence[Finder]) -> Toolchain:
    for find in finders:
        toolchain = find(triple)
        if toolchain is not None:
            return toolchain
    if _is_host(triple):
        raise MissingDependencyError(
            "no C compiler to link with; install one (Debian: apt install gcc libc6-dev), name it "
            "in CC, or pip install ziglang"
        )
    architecture = triple.partition("-")[0]
    raise MissingDependencyError(
        f"target {name}: no linker for {architecture}: pip install ziglang (the extra "
        f"abc-tvm[cross]), or install {triple}-gcc (Debian: apt install "
        f"gcc-{triple.replace('_', '-')})"
    )


def _is_host(triple: str) -> bool:
    return triple.partition("-")[0] == platform.machine()


def _system(triple: str) -> Toolchain | None:
    if _is_host(triple):
        named = _named("CXX")
        compiler = named or _named("CC") or _usual("g++", "gcc", "clang++", "clang", "c++", "cc")
        both = named or _usual("c++", "g++", "clang++") or compiler
        return None if compiler is None or both is None else Toolchain(compiler, both, compiler[0])
    for c, cxx in ((f"{triple}-gcc", f"{triple}-g++"), (f"{triple}-g++",) * 2):
        if shutil.which(c):
            return Toolchain((c,), (cxx,), c)
    return None


def _named(variable: str) -> tuple[str, ...] | None:
    """The command in an environment variable, which may have options: ``CXX="g++ -O2"``.

    Raises:
        MissingDependencyError: It names no program.
    """
    text = os.environ.get(variable, "").strip()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise MissingDependencyError(f"{variable}={text!r}: no command ({error})") from error
    if not words:
        return None
    if shutil.which(words[0]) is None:
        raise MissingDependencyError(
            f"{variable}={text!r}: there is no program {words[0]}; correct or unset it"
        )
    return words


def _usual(*names: str) -> tuple[str, ...] | None:
    return next(((name,) for name in names if shutil.which(name)), None)


def _zig(triple: str) -> Toolchain | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    architecture, _, system = triple.partition("-")
    zig = (sys.executable, "-m", "ziglang")
    options = ("-target", f"{architecture}-{system}.{GLIBC}")
    cache = {"ZIG_GLOBAL_CACHE_DIR": str(_zig_cache())}
    return Toolchain((*zig, "cc", *options), (*zig, "c++", *options), "ziglang", cache)


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
    try:
        fallback.mkdir(mode=0o700, exist_ok=True)
        status = fallback.lstat()  # a link could lead anywhere
    except OSError as error:
        raise unusable(error) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise MissingDependencyError(
            f"{fallback}: belongs to another user; set ZIG_GLOBAL_CACHE_DIR to a folder of yours"
        )
    return fallback
