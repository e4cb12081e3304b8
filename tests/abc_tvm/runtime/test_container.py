"""The artifact's file: what is packed is read, and what was damaged or made up is refused."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import ArtifactError, TargetError
from abc_tvm.runtime import container
from abc_tvm.runtime.container import Info, Port, pack, read_info

LIBRARY = b"\x7fELF" + bytes(range(200))
TARGET = {"name": "zen4", "triple": "x", "cpu": "y", "features": ["a"], "requires": ["b"]}
INFO = Info(
    (Port("x", ("N", 3, 8), "float32"), Port("mask", (), "bool")),
    (Port("y", (0,), "int64"),),
    TARGET,
    "0.27",
    layers=[{"name": "c", "lowering": "bitserial"}],
)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def described(**changed: Any) -> bytes:
    """A file whose checksum is right, whatever its description says."""
    text = json.loads(pack(b"", INFO)[: -8 - 8 - 32]) | changed
    description = json.dumps({k: v for k, v in text.items() if v != "absent"}).encode()
    length = struct.pack("<Q", len(description))
    digest = hashlib.sha256(LIBRARY + description + length).digest()
    return LIBRARY + description + container.MAGIC + length + digest


def test_what_is_packed_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.so", pack(LIBRARY, INFO))
    assert read_info(path) == INFO == read_info(str(path))
    assert path.read_bytes().startswith(LIBRARY)


def test_bits_or_none() -> None:
    assert INFO.binarized
    assert not Info((), (), TARGET, "0.27").binarized
    assert not Info((), (), TARGET, "0.27", layers=[{"name": "c"}]).binarized


def test_every_cut_and_every_flip_is_refused(tmp_path: Path) -> None:
    data = pack(LIBRARY, INFO)
    path = tmp_path / "m.so"
    for end in range(len(data)):
        with pytest.raises(ArtifactError, match=r"m\.so: (empty|not a shared|cut short|damaged)"):
            read_info(write(path, data[:end]))
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 4
        with pytest.raises(ArtifactError, match=r"m\.so: "):
            read_info(write(path, bytes(changed)))
    with pytest.raises(ArtifactError, match="cut short, or not written"):
        read_info(write(path, data + b"\0"))


def test_a_length_beyond_the_file_is_damage(tmp_path: Path) -> None:
    for length in (len(LIBRARY) + 1, 2**63):
        words = struct.pack("<Q", length)
        digest = hashlib.sha256(LIBRARY + words).digest()
        path = write(tmp_path / "m.so", LIBRARY + container.MAGIC + words + digest)
        with pytest.raises(ArtifactError, match="damaged"):
            read_info(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": "absent"},
        {"inputs": [{"name": "x", "shape": [-1], "dtype": "float32"}]},
        {"inputs": [{"name": "x", "shape": [True], "dtype": "float32"}]},
        {"inputs": [{"name": 3, "shape": [1], "dtype": "float32"}]},
        {"outputs": [{"name": "x", "shape": None, "dtype": "float32"}]},
        {"target": {}},
        {"target": TARGET | {"requires": [1]}},
        {"target": TARGET | {"gpu": {}}},
        {"layers": ["c"]},
        {"tvm": None},
        {"more": 1},
    ],
)
def test_a_description_that_others_could_not_use(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"m\.so: its description cannot be read; compile it"):
        read_info(write(tmp_path / "m.so", described(**changed)))


def test_another_format(tmp_path: Path) -> None:
    path = write(tmp_path / "m.so", described(format=2, abc_tvm="9.9"))
    with pytest.raises(ArtifactError, match=r"by abc-tvm 9\.9 in format 2, and abc-tvm .* reads"):
        read_info(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.so"):
        with pytest.raises(ArtifactError, match=path.name):
            read_info(path)


def test_a_gpus_code_is_refused_for_a_purpose() -> None:
    INFO.refuse_gpu("m.so", "bundle")
    gpu = Info((), (), TARGET | {"gpu": {"arch": "sm_90"}}, "0.27")
    with pytest.raises(TargetError, match=r"m\.so: compiled for a GPU \(target zen4\); bundle"):
        gpu.refuse_gpu("m.so", "bundle")
