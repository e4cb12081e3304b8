"""Temporary folders go away, say where they are full, and LLVM's objects never touch the disk."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import UserError
from abc_tvm.scratch import memory_files, object_code, refuse_full, scratch, unusable


def test_a_folder_is_gone_afterwards() -> None:
    with scratch() as folder:
        (folder / "file").write_bytes(b"x")
        assert folder.name.startswith("abc-tvm-")
    assert not folder.exists()
    with pytest.raises(KeyError), scratch() as folder:
        raise KeyError
    assert not folder.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("named", [True, False])
def test_a_full_folder_is_the_users_to_mend(number: int, named: bool) -> None:
    with (
        pytest.raises(
            UserError, match=r"for temporary files cannot be used: .*; make room, or set"
        ),
        scratch() as folder,
    ):
        raise OSError(number, os.strerror(number), str(folder / "x") if named else None)


def test_other_errors_are_none_of_its_business() -> None:
    for error in (OSError(errno.ENOENT, "no"), OSError(errno.ENOSPC, "full", "/elsewhere/file")):
        with pytest.raises(OSError, match=r"no|full") as caught, scratch():
            raise error
        assert caught.value is error


def test_a_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    with pytest.raises(UserError, match="No usable temporary directory"), scratch():
        pass


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/there")
    assert str(unusable(OSError(errno.EROFS, "x"))).startswith("/there: the folder")
    monkeypatch.delenv("TMPDIR")
    assert str(unusable(OSError(errno.EROFS, "x"))).startswith("/tmp: ")


def test_what_a_tool_says() -> None:
    refuse_full("ld: undefined symbol: main")
    with pytest.raises(UserError, match="No space left on device"):
        refuse_full("ld: cannot write: NO SPACE LEFT ON DEVICE")


def test_files_in_memory(tmp_path: Path) -> None:
    with memory_files(tmp_path, ["a.o", "b.o"]):
        (tmp_path / "a.o").write_bytes(b"code")
        assert (tmp_path / "a.o").read_bytes() == b"code"
        assert (tmp_path / "b.o").read_bytes() == b""
        assert all(path.readlink().is_relative_to("/proc/self/fd") for path in tmp_path.iterdir())
    with pytest.raises(OSError, match=r"a\.o"):
        (tmp_path / "a.o").read_bytes()


def test_object_code() -> None:
    class Module:
        def write_to_file(self, path: str, kind: str) -> None:
            assert Path(path).is_symlink() and kind == "o"
            Path(path).write_bytes(b"\x7fELF")

    assert object_code(Module()) == b"\x7fELF"
