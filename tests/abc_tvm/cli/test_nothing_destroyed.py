"""Commands beside pipes, devices, links, full disks and Ctrl-C: one line, and all is as before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from abc_tvm.cli import run_command
from tests.abc_tvm.small_networks import network, write
from tests.abc_tvm.test_files import odd_files

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``m.onnx``, ``m.so`` compiled from it, and ``in.npz``."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "m.onnx", network())
    np.savez(folder / "in.npz", input=np.zeros((1, 8, 6, 6), np.float32))
    command = ["compile", str(folder / "m.onnx"), "-t", "native", "-o", str(folder / "m.so")]
    assert run_command(command) == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in made.iterdir():
        shutil.copy2(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capfd: Capture, command: str, word: str) -> None:
    capfd.readouterr()
    assert run_command(command.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("abc-tvm: error: ")
    assert word in err


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
        if p.name != "__pycache__"
    }


COMPILE = "compile m.onnx -t native -o"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (f"{COMPILE} m.onnx", "ends in .so"),
        (f"{COMPILE} model.so", "is also what is read"),
        (f"{COMPILE} x.txt", "ends in .so"),
        (f"{COMPILE} arrays.so", "is not a compiled network"),
        (f"{COMPILE} library.so", "is not a compiled network"),
        (f"{COMPILE} link.so", "symbolic link"),
        (f"{COMPILE} pipe.so", "is a pipe"),
        (f"{COMPILE} /dev/null", "is a device"),
        (f"{COMPILE} folder.so", "is a directory"),
        (f"{COMPILE} mine --format c", "m.c: is there already"),
        ("run m.so --random -o m.so", "ends in .npz"),
        ("run m.so --random -o artifact.npz", "is also what is read"),
        ("run m.so --random -o model.npz", "is not an .npz file"),
        ("run m.so -i in.npz -o in.npz", "is also what is read"),
        ("bench m.onnx --plot model.png", "is also what is read"),
        ("profile m.onnx --plot text.png", "is not a PNG picture"),
        ("zoo lenet -o arrays.onnx", "is not an ONNX model"),
        ("zoo lenet-mnist -o m.so", "ends in .onnx"),
        ("bundle m.so -o mine", "README.txt: is there already"),
        ("bundle m.so -o m.onnx", "m.onnx"),
        ("tune m.onnx -t native --trials 1 --records m.onnx", "m.onnx"),
    ],
)
def test_outputs(command: str, word: str, folder: Path, capfd: Capture) -> None:
    os.link("m.onnx", "model.so")
    os.link("m.onnx", "model.png")
    shutil.copy("m.onnx", "model.npz")
    os.link("m.so", "artifact.npz")
    shutil.copy("in.npz", "arrays.so")
    shutil.copy("in.npz", "arrays.onnx")
    Path("library.so").write_bytes(Path("m.so").read_bytes()[:-48])
    Path("link.so").symlink_to(folder / "elsewhere.so")
    Path("text.png").write_text("no picture")
    os.mkfifo("pipe.so")
    Path("folder.so").mkdir()
    Path("mine").mkdir()
    Path("mine/m.c").write_text("int mine;\n")
    Path("mine/README.txt").write_text("My notes.\n")
    before = contents(folder)
    refused(capfd, command, word)
    after = contents(folder)
    assert {k: v for k, v in after.items() if k in before} == before
    assert not any(name.endswith(".part") for name in after)


def test_inputs_that_are_no_files(folder: Path, capfd: Capture) -> None:
    odd = folder / "odd"
    odd.mkdir()
    for kind, path in odd_files(odd).items():
        for command in ("inspect {}", f"{COMPILE} o.so".replace("m.onnx", "{}"), "verify {}",
                        "bench {}", "profile {}",
                        "run {} --random", "run m.so -i {}", "verify m.onnx -i {}",
                        "bundle {} -o b", "tune {} -t native --trials 1 --records r"):  # fmt: skip
            refused(capfd, command.format(path), f"is a {kind}")
    os.mkfifo("t.toml")
    refused(capfd, "inspect m.onnx -t t.toml", "is a pipe")
    Path("r/native").mkdir(parents=True)
    shutil.copy("m.onnx", "r/native/manifest.json")
    os.mkfifo("r/native/database_workload.json")
    refused(capfd, "records show r", "is a pipe")


def test_what_worked_is_written_again(folder: Path, capfd: Capture) -> None:
    """The same command twice replaces its own files, and a bundle beside its artifact is one."""
    for command in (
        f"{COMPILE} m.so",
        f"{COMPILE} c --format c",
        "run m.so --random --repeat 1 -o out.npz",
        "zoo lenet -o l.onnx",
        "bundle m.so -o . --no-program",
    ):
        for _ in range(2):
            assert run_command(command.split()) == 0, capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("run m.so --random --rpc 127.0.0.1:9 --rpc-timeout inf", "rpc-timeout"),
        ("run m.so --random --rpc 127.0.0.1:9 --rpc-timeout nan", "rpc-timeout"),
        ("run m.so --random --rpc 127.0.0.1:9 --rpc-timeout 1e300", "rpc-timeout"),
        ("tune m.onnx -t native --records r --seconds nan", "seconds"),
        ("inspect m.onnx --int8-error nan", "int8-error"),
        ("run m.so --random --batch 100000000", "batch"),
        ("run m.so --random --batch 99999999999999999999999", "batch"),
        ("run m.so --random --threads 99999999999999999999999", "threads"),
        ("zoo lenet -o l.onnx --image-size 1000000", "image"),
        ("zoo lenet -o l.onnx --image-size -3", "image"),
        ("zoo lenet -o l.onnx --seed -1", "seed"),
    ],
)
def test_numbers(command: str, word: str, folder: Path, capfd: Capture) -> None:
    refused(capfd, command, word)


# ---- processes -----------------------------------------------------------------------------


def started(command: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **options.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(
        f"{sys.executable} -m abc_tvm {command}",
        shell=True,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def assert_one_line(done: subprocess.CompletedProcess[str], word: str) -> None:
    assert done.returncode == 2, done
    assert done.stderr.startswith("abc-tvm: error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert word in done.stderr


def test_stdout_that_is_full_closed_or_left(folder: Path) -> None:
    if Path("/dev/full").exists():
        assert_one_line(started("inspect m.onnx > /dev/full"), "stdout: cannot be written")
        assert_one_line(started("targets > /dev/full"), "stdout: cannot be written")
    assert_one_line(started("inspect m.onnx >&-"), "stdout")
    done = started("targets | true; exit ${PIPESTATUS[0]}", executable="/bin/bash")
    assert (done.returncode, done.stderr) == (2, "")


def test_a_path_in_another_encoding(folder: Path) -> None:
    shutil.copy("m.onnx", "modèle.onnx")
    for locale in ("C", "C.UTF-8"):
        env = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
        done = started("compile modèle.onnx -t native -o sortie-é.so", env=env, stdout=-1)
        assert (done.returncode, done.stderr) == (0, "")
        done = started("inspect 'no\x1b[31m-é.onnx'", env=env, stdout=-1)
        assert_one_line(done, "no\\x1b[31m")


def test_compilers_by_name(folder: Path) -> None:
    done = started(f"{COMPILE} a.so", env={"CXX": "g++ -O2"}, stdout=-1)
    assert done.returncode == 0, done.stderr
    done = started(f"{COMPILE} b.so", env={"CXX": "no-such-compiler -O2"}, stdout=-1)
    assert_one_line(done, "no-such-compiler")
    assert not Path("b.so").exists()


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path_factory.mktemp("tiny")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"needs a small file system, which root can mount: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_temporary_folder(tiny: Path, folder: Path) -> None:
    """LLVM would end the process."""
    done = started(f"{COMPILE} o.so", env={"TMPDIR": str(tiny)}, stdout=-1)
    assert_one_line(done, f"{tiny}: the folder for temporary files cannot be used: No space left")
    assert not Path("o.so").exists()
    assert list(tiny.iterdir()) == []
    done = started(f"{COMPILE} {tiny}/o.so", stdout=-1)
    assert_one_line(done, "o.so: cannot be written: No space left")
    assert list(tiny.iterdir()) == []


@pytest.mark.parametrize("command", [f"{COMPILE} o.so", "verify m.onnx", "bench m.onnx"])
def test_ctrl_c(command: str, folder: Path) -> None:
    before = contents(folder)
    child = subprocess.Popen(
        [sys.executable, "-m", "abc_tvm", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(0.8)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "abc-tvm: interrupted\n")
    assert contents(folder) == before
