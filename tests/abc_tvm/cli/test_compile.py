"""``abc-tvm compile``: one file or a C library, what it says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from abc_tvm.cli import run_command
from tests.abc_tvm.cli.commands import Capture, answer, refused
from tests.abc_tvm.small_networks import network, write


def test_compile_json_dump_and_nothing_else_left(
    small: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, dump = tmp_path / "o.so", tmp_path / "dump"
    command = ["compile", small / "m.onnx", "-t", "native", "-o", out, "--debug-dump", dump]
    facts = answer(capsys, *command)
    assert facts["bytes"] == out.stat().st_size
    assert {path.name for path in tmp_path.iterdir()} == {"o.so", "dump"}
    assert (dump / "00_canonicalise.py").stat().st_size > 0


def test_compile_to_c(small: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "c"
    command = ["compile", small / "m.onnx", "-t", "native", "--format", "c", "-o", out]
    facts = answer(capsys, *command)
    names = {"m.h", "m.c", "m_example.c", "libm.a"}
    assert {path.name for path in out.iterdir()} == names == set(facts["files"])
    assert facts["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    header = (out / "m.h").read_text()
    assert f"#define M_ARENA_BYTES {facts['arena_bytes']} " in header
    assert f"#define M_WEIGHTS_BYTES {facts['constant_bytes']} " in header
    assert facts["layers"]
    answer(capsys, *command, "--name", "my net")
    assert (out / "my_net.c").is_file()


def test_a_float_network_compiles_and_says_so(small: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["compile", str(small / "float.onnx"), "-t", "native", "-o"]
    assert run_command([*arguments, str(tmp_path / "f.so")]) == 0
    assert "nothing is binarized" in capsys.readouterr().out


def test_a_device_without_a_runtime_gets_no_shared_library(tmp_path: Path, capfd: Capture) -> None:
    model, out = write(tmp_path / "m.onnx", network()), tmp_path / "m.so"
    arguments: list[str | Path] = ["compile", model, "-t", "rpi-armv7", "-o", out]
    refused(capfd, arguments, "rpi-armv7", "--format c")
    assert not out.exists()


def test_names_of_the_c_form(small: Path, tmp_path: Path, capfd: Capture) -> None:
    model = small / "m.onnx"
    compiled = ["compile", model, "-t", "native"]
    refused(capfd, [*compiled, "-o", tmp_path / "x.so", "--name", "x"], "--format c")
    refused(capfd, [*compiled, "--format", "c", "-o", tmp_path / "c", "--name", "-"], "--name")
    (tmp_path / "file").touch()
    refused(capfd, [*compiled, "--format", "c", "-o", tmp_path / "file"], "cannot be created")


def test_records_that_are_not_there(small: Path, tmp_path: Path, capfd: Capture) -> None:
    out = tmp_path / "o.so"
    arguments = ["compile", small / "m.onnx", "-t", "native", "-o", out, "--records", "none"]
    refused(capfd, arguments, "none: there is no such folder of tuning records")
    assert not out.exists()
