"""Arrays of .npz files: what is written is read, and no file claims more than it holds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abc_tvm.cli import arrays as module
from abc_tvm.cli.arrays import read_arrays, write_arrays
from abc_tvm.errors import InputError

ARRAYS: dict[str, np.ndarray] = {
    "x": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/b c": np.array(True),
    "none": np.zeros((0, 3), np.int8),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


def _savez(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _savez_compressed(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _savez(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _savez_compressed(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for save in (write_arrays, _savez, _savez_compressed):
        path.unlink(missing_ok=True)
        save(path, ARRAYS)
        found = read_arrays(path)
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found[name], array)
            assert found[name].flags.writeable
    with np.load(path) as others:
        np.testing.assert_array_equal(others["x"], ARRAYS["x"])


def test_no_arrays(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", {})
    assert read_arrays(tmp_path / "x.npz") == {}


def member(data: bytes) -> bytes:
    """An archive of one member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", data)
    return stream.getvalue()


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


WHOLE = saved(ARRAYS["x"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty|cannot be read as .npz"),
        (b"text", "cannot be read as .npz"),
        (WHOLE, "holds one array without a name; write it with numpy.savez"),
        (member(b""), "cannot be read as .npz"),
        (member(b"text"), "cannot be read as .npz"),
        (member(WHOLE[:-1]), r"x.npy has 23 bytes for shape \[2, 3\]"),
        (member(WHOLE + b"0"), r"x.npy has 25 bytes for shape \[2, 3\]"),
        (member(saved(np.array([{}, None]))), "x.npy holds Python objects"),
        (member(WHOLE.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x09")), "has the unknown format"),
        (member(WHOLE)[:-9], "cannot be read as .npz"),
    ],
)
def test_what_is_no_archive_of_arrays(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_arrays(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ARRAYS", 1000)
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(1 << 20, np.int8))
    with pytest.raises(InputError, match="bytes claim to hold arrays of 1,048,704"):
        read_arrays(tmp_path / "x.npz")


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.npz"):
        with pytest.raises(InputError, match=path.name):
            read_arrays(path)
    with pytest.raises(InputError, match="none"):
        write_arrays(tmp_path / "none" / "x.npz", {})
