"""The C++ runner's sources are complete, and its stand-ins have what it calls."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.deploy import runner_program, toolchain
from abc_tvm.errors import MissingDependencyError


def test_sources_include_what_they_read() -> None:
    files = runner_program.sources()
    texts = {name: data.decode() for name, data in files.items()}
    for name in ("main.cpp", "network.cpp", "npz.cpp"):
        for quoted in re.findall(r'#include "(.+?)"', texts[name]):
            assert {quoted, f"include/{quoted}"} & files.keys(), f"{name} reads {quoted}"
    for name in files:
        if name.endswith(".cpp"):
            assert name in texts["CMakeLists.txt"]
    assert runner_program.script().startswith(b"#!/usr/bin/env python3")


def test_stand_ins_have_the_functions_that_are_called(tmp_path: Path) -> None:
    for name, data in runner_program.sources().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    called = runner_program._called(tmp_path)
    assert called == sorted(called) and len(called) > 5
    header = (tmp_path / "include/tvm/ffi/c_api.h").read_text()
    assert all(f"{name}(" in header for name in called)
    assert not any(re.search(rf"^inline .*{name}\(", header, re.MULTILINE) for name in called)


def test_what_the_compiler_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[list[str]] = []

    class Compiler:
        def run(self, *arguments: Any, cxx: bool = False) -> None:
            runs.append([str(a) for a in arguments])
            Path(arguments[arguments.index("-o") + 1]).write_bytes(b"made")

    monkeypatch.setattr(toolchain, "for_program", lambda triple, name: Compiler())
    assert runner_program.program("aarch64-linux-gnu", "rpi4") == b"made"
    runtime, ffi, program = runs
    assert "-Wl,-soname,libtvm_runtime.so" in runtime and "-Wl,-soname,libtvm_ffi.so" in ffi
    assert "-Wl,-rpath,$ORIGIN/lib" in program and "-std=c++17" in program


def test_without_tvms_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="apache-tvm-ffi is not installed"):
        runner_program.sources()


@pytest.mark.slow
def test_for_this_machine() -> None:
    triple = f"{platform.machine()}-linux-gnu"
    try:
        toolchain.for_program(triple, "native")
    except MissingDependencyError as error:
        pytest.skip(str(error))
    made = runner_program.program(triple, "native")
    assert made.startswith(b"\x7fELF") and b"libtvm_ffi.so" in made
