"""Which program links, what is said where there is none, and that files are reproducible."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from abc_tvm.cli import run_command
from abc_tvm.deploy import toolchain
from abc_tvm.errors import MissingDependencyError
from tests.abc_tvm.small_networks import network, write

ARM = "aarch64-linux-gnu"
needs_zig = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="needs ziglang (pip install ziglang)"
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        toolchain.importlib.util,
        "find_spec",
        lambda name: None if name == "ziglang" else found(name),
    )


def test_the_systems_cross_compiler_links_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / f"{ARM}-gcc"
    tool.write_text("#!/bin/sh\n", encoding="ascii")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.for_library(ARM, "rpi4").c == (f"{ARM}-gcc",)


@needs_zig
@pytest.mark.usefixtures("bare")
def test_zig_stands_in_and_is_told_the_oldest_glibc() -> None:
    found = toolchain.for_library(ARM, "rpi4")
    assert found.c[-1] == f"{ARM}.{toolchain.GLIBC}"
    assert found.cxx[-4:-2] == ("ziglang", "c++")
    assert toolchain.for_library("x86_64-linux-gnu", "zen4").program == "ziglang"


@needs_zig
def test_programs_come_from_zig_even_beside_a_cross_compiler() -> None:
    assert toolchain.for_program(ARM, "rpi4").program == "ziglang"


@pytest.mark.usefixtures("bare", "no_zig")
@pytest.mark.parametrize("find", [toolchain.for_library, toolchain.for_program])
def test_a_missing_cross_compiler_says_what_to_install(find: object) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        find(ARM, "rpi4")  # type: ignore[operator]
    message = str(caught.value)
    assert "target rpi4: no linker for aarch64: pip install ziglang" in message
    assert "apt install gcc-aarch64-linux-gnu" in message
    assert "\n" not in message


@pytest.mark.usefixtures("bare", "no_zig")
def test_a_missing_compiler_says_what_to_install() -> None:
    with pytest.raises(MissingDependencyError, match=r"install one .* or pip install ziglang"):
        toolchain.for_library("x86_64-linux-gnu", "zen4")


@pytest.mark.usefixtures("bare", "no_zig")
def test_the_command_leaves_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = write(tmp_path / "m.onnx", network())
    out = tmp_path / "m.so"
    assert run_command(["compile", str(model), "-t", "rpi4", "-o", str(out)]) == 2
    printed = capfd.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert "pip install ziglang" in printed.err
    assert not out.exists()


def test_a_failure_is_told() -> None:
    failing = toolchain.Toolchain(("false",), ("false",), "cc")
    with pytest.raises(MissingDependencyError, match="the compiler cc failed"):
        failing.run("x.o")


def test_zigs_cache_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "mine"))
    assert toolchain._zig_cache() == tmp_path / "mine"
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert toolchain._zig_cache() == tmp_path / "cache/abc-tvm/zig"


def test_zigs_cache_without_a_home_is_a_temporary_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(toolchain.tempfile, "gettempdir", lambda: str(tmp_path))
    found = toolchain._zig_cache()
    assert found.parent == tmp_path and found.is_dir()


CODE = """
import sys
from abc_tvm import compile
sys.stdout.buffer.write(compile(sys.argv[1], target=sys.argv[2]).data)
"""


@pytest.mark.parametrize("program", ["system", pytest.param("zig", marks=needs_zig)])
def test_two_processes_write_the_same_file(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an open batch, whose shape functions TVM writes in another order every time."""
    model = write(tmp_path / "m.onnx", network())
    target = "x86-64"
    if program == "zig":
        monkeypatch.setenv("PATH", str(tmp_path))
        target = "rpi4"
    command = [sys.executable, "-c", CODE, str(model), target]
    made = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)]
    assert made[0][:4] == b"\x7fELF"
    assert hashlib.sha256(made[0]).digest() == hashlib.sha256(made[1]).digest()
    assert max(glibc(made[0]), default=(0,)) <= (2, 28)


def glibc(library: bytes) -> list[tuple[int, ...]]:
    """The versions of glibc that a library asks for."""
    return [tuple(map(int, v.split(b"."))) for v in re.findall(rb"GLIBC_([\d.]+)\0", library)]
