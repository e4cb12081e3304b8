"""Kinds of files are known by their content, and nothing else passes for one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from abc_tvm import files
from abc_tvm.errors import UserError
from abc_tvm.file_kinds import ARRAYS, ARTIFACT, MODEL, PLOT, Kind, like
from tests.abc_tvm.small_networks import network


def test_folders_of_ours_are_written_again_and_others_are_not(tmp_path: Path) -> None:
    new = b"/* m, compiled for rpi4 by abc-tvm 2. */\nint x;\n"
    for old, good in (
        (b"/* m, compiled for zen4 by abc-tvm 1. */\nint y;\n", True),
        (new, True),
        (b"int main(void) { return 0; }\n", False),
    ):
        path = tmp_path / "m.c"
        path.write_bytes(old)
        if good:
            files.check_output(path, kind=like("m.c", new))
        else:
            with pytest.raises(UserError, match=r"is not the m\.c that abc-tvm writes"):
                files.check_output(path, kind=like("m.c", new))


def holds(kind: Kind, folder: Path, data: bytes) -> bool:
    path = folder / "x"
    path.write_bytes(data)
    with path.open("rb") as stream:
        return kind.holds(stream)


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name in names:
            made.writestr(name, b"")
    return stream.getvalue()


@pytest.mark.parametrize("kind", [ARTIFACT, ARRAYS, MODEL, PLOT], ids=lambda kind: kind.suffix)
@pytest.mark.parametrize("data", [b"", b"\0", b"\x7fELF", b"PK", b"\x08", bytes(range(200))])
def test_scraps_are_none(kind: Kind, data: bytes, tmp_path: Path) -> None:
    assert not holds(kind, tmp_path, data)


def test_a_model_is_whole_and_has_a_graph(tmp_path: Path) -> None:
    data = network().SerializeToString()
    assert holds(MODEL, tmp_path, data)
    for end in range(len(data)):
        if holds(MODEL, tmp_path, data[:end]):
            assert onnx.load_model_from_string(data[:end]).graph == network().graph
    assert not holds(MODEL, tmp_path, data + b"\0")
    assert not holds(MODEL, tmp_path, onnx.ModelProto(ir_version=8).SerializeToString())
    assert not holds(MODEL, tmp_path, data.replace(data[:1], b"\x0a", 1)), "a number's wire type"


def test_numbers_without_an_end(tmp_path: Path) -> None:
    assert not holds(MODEL, tmp_path, b"\xff" * 40)
    assert not holds(MODEL, tmp_path, b"\x3a" + b"\xff" * 9 + b"\x01")


def test_an_archive_of_arrays_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    assert holds(ARRAYS, tmp_path, (tmp_path / "a.npz").read_bytes())
    assert holds(ARRAYS, tmp_path, archive("a.npy", "b.npy"))
    assert not holds(ARRAYS, tmp_path, archive("a.npy", "b.txt"))


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("m.a", b"!<arch>\n1", b"!<arch>\n2", True),
        ("m.a", b"\x7fELF", b"!<arch>\n2", False),
        ("run", b"\x7fELF1", b"\x7fELF2", True),
        ("m.h", b"text\nold", b"text\nnew", True),
        ("m.h", b"mine\nold", b"text\nnew", False),
        ("m.ports", b"input x float32 1\n", b"output y float32 1\n", True),
        ("m.txt", b"input x float32 1\n", b"output y float32 1\n", False),
    ],
)
def test_files_of_a_folder(name: str, old: bytes, new: bytes, same: bool, tmp_path: Path) -> None:
    assert holds(like(name, new), tmp_path, old) == same
