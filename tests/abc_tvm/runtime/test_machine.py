"""An artifact for another processor or another TVM is refused, by its header and description."""

from __future__ import annotations

import platform
import struct
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from abc_tvm.errors import ArtifactError, TargetError
from abc_tvm.runtime import machine
from abc_tvm.runtime.container import Info
from abc_tvm.targets import host

TARGET = {"name": "there", "triple": "t", "cpu": "c", "features": [], "requires": []}
INFO = Info((), (), TARGET, metadata.version("apache-tvm"))


def header(tmp_path: Path, number: int) -> Path:
    path = tmp_path / "m.so"
    path.write_bytes(bytes(18) + struct.pack("<H", number) + bytes(44))
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    numbers = {name: number for number, name in machine._ELF_MACHINES.items()}
    return header(tmp_path, numbers[platform.machine()])


def test_for_this_machine(ours: Path) -> None:
    machine.check_machine(ours, INFO)


@pytest.mark.parametrize(("number", "name"), [(243, "riscv64"), (21, "ELF machine 21")])
def test_for_another_architecture(tmp_path: Path, number: int, name: str) -> None:
    with pytest.raises(
        TargetError, match=rf"m\.so: compiled for {name} \(target there\), and"
    ) as e:
        machine.check_machine(header(tmp_path, number), INFO)
    assert "compile it for this one (abc-tvm compile -t native), or run it on a there" in str(e)


def test_a_file_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "m.so"
    path.write_bytes(b"\x7fELF")
    with pytest.raises(TargetError, match="compiled for ELF machine 0"):
        machine.check_machine(path, INFO)


def test_instructions_that_are_missing(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "host_features", lambda: frozenset({"a"}))
    wanted = replace(INFO, target=TARGET | {"requires": ["c", "a", "b"]})
    with pytest.raises(TargetError, match="target there, whose instructions b, c this processor"):
        machine.check_machine(ours, wanted)
    machine.check_machine(ours, replace(INFO, target=TARGET | {"requires": ["a"]}))


def test_another_tvm(ours: Path) -> None:
    with pytest.raises(ArtifactError, match=r"with TVM 0\.1, and TVM .*apache-tvm==0\.1$"):
        machine.check_machine(ours, replace(INFO, tvm="0.1"))
