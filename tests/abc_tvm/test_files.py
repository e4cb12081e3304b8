"""What may be read, what may be replaced, and that a failed write leaves nothing behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from abc_tvm import files
from abc_tvm.errors import ArtifactError, UserError
from abc_tvm.file_kinds import ARRAYS, ARTIFACT, MODEL, PLOT, Kind
from tests.abc_tvm.small_networks import network, write


def odd_files(folder: Path) -> dict[str, Path]:
    """What is no regular file, and hangs or never ends where it is read as one."""
    made = {"pipe": folder / "pipe.onnx", "socket": folder / "socket.onnx", "device": folder / "d"}
    os.mkfifo(made["pipe"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(made["socket"]))
    made["device"] = Path("/dev/zero")
    made["directory"] = folder
    return made


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    for kind, path in odd_files(tmp_path).items():
        with pytest.raises(ArtifactError, match=f"is a {kind}"):
            files.read_regular(path, ArtifactError)
        with pytest.raises(ArtifactError, match=f"is a {kind}"):
            files.check_output(path, ArtifactError)
    with pytest.raises(UserError, match="no such file"):
        files.read_regular(tmp_path / "none")
    (tmp_path / "nine").write_bytes(b"123456789")
    with pytest.raises(UserError, match="has 9 bytes, more than the 8"):
        files.read_regular(tmp_path / "nine", most=8)
    assert files.read_regular(tmp_path / "nine", most=9) == b"123456789"


def test_links(tmp_path: Path) -> None:
    """A link is read through, and never written through, nor replaced."""
    (tmp_path / "there").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    assert files.read_regular(tmp_path / "link") == b"kept"
    for name in ("link", "dangling", "circle"):
        with pytest.raises(UserError, match="symbolic link"):
            files.write_atomically(tmp_path / name, b"new")
    with pytest.raises(UserError, match="circle"):
        files.read_regular(tmp_path / "circle")
    assert (tmp_path / "there").read_bytes() == b"kept"
    assert not (tmp_path / "nowhere").exists()


def test_an_output_is_none_of_the_inputs_by_any_name(tmp_path: Path) -> None:
    model = write(tmp_path / "m.onnx", network())
    os.link(model, tmp_path / "hard.onnx")
    (tmp_path / "sub").mkdir()
    for name in ("m.onnx", "hard.onnx", "sub/../m.onnx"):
        with pytest.raises(UserError, match="is also what is read"):
            files.check_output(tmp_path / name, kind=MODEL, inputs=[model])
    files.check_output(tmp_path / "other.onnx", kind=MODEL, inputs=[model])


def of_each_kind(folder: Path) -> dict[Kind, Path]:
    made = {kind: folder / f"x{kind.suffix}" for kind in (ARTIFACT, ARRAYS, MODEL, PLOT)}
    made[ARTIFACT].write_bytes(b"\x7fELF" + bytes(99) + b"ABC-TVM\0" + bytes(40))
    np.savez(made[ARRAYS], x=np.zeros(3))
    write(made[MODEL], network())
    made[PLOT].write_bytes(b"\x89PNG\r\n\x1a\n")
    return made


def test_a_file_is_replaced_by_its_like_alone(tmp_path: Path) -> None:
    made = of_each_kind(tmp_path)
    for kind, path in made.items():
        files.check_output(path, kind=kind)
        for other, there in made.items():
            if other is not kind:
                disguised = tmp_path / f"disguised{kind.suffix}"
                disguised.write_bytes(there.read_bytes())
                with pytest.raises(UserError, match=f"is not {kind.name}"):
                    files.write_atomically(disguised, b"", kind=kind)
                assert disguised.read_bytes() == there.read_bytes()
        with pytest.raises(UserError, match=rf"ends in \{kind.suffix}"):
            files.check_output(tmp_path / "x.txt", kind=kind)
        empty = tmp_path / f"empty{kind.suffix}"  # as mktemp leaves one
        empty.touch()
        files.check_output(empty, kind=kind)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("n" * 250 + ".so")  # no room for a longer name beside it
    files.write_atomically(path, b"old")
    for failure in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fail(*_: object, failure: BaseException = failure) -> None:
            raise failure

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises((UserError, KeyboardInterrupt)):
            files.write_atomically(path, b"new")
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_write_protection_is_heeded(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.touch(mode=0o444)
    with pytest.raises(UserError, match="write-protected"):
        files.check_output(path, kind=ARRAYS)
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="cannot be written to"):
        files.check_output(tmp_path / "y.npz", kind=ARRAYS)
    tmp_path.chmod(0o755)
