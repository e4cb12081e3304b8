"""Exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from abc_tvm import cli
from abc_tvm.cli import run_command
from tests.abc_tvm.cli.commands import Capture
from tests.abc_tvm.small_networks import network, write


def test_internal_errors_and_interrupts_are_one_line(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abc_tvm import api

    path = write(tmp_path / "m.onnx", network())
    fault = "error: this is a fault of abc-tvm, not of what it was given (KeyError: 'oops')"
    for error, code, word in ((KeyError("oops"), 2, fault), (KeyboardInterrupt(), 130, "interr")):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(api, "inspect", fail)
        capfd.readouterr()
        assert run_command(["inspect", str(path)]) == code
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1
        assert word in err
        assert code == 130 or ("report it" in err and "abc-tvm --debug inspect" in err)


def test_debug_shows_where_a_fault_is(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abc_tvm import api

    def fail(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(api, "inspect", fail)
    path = write(tmp_path / "m.onnx", network())
    capfd.readouterr()
    assert run_command(["--debug", "inspect", str(path)]) == 2
    err = capfd.readouterr().err.splitlines()
    assert err[0].startswith("Traceback") and "in fail" in "".join(err)
    assert err[-1].startswith("abc-tvm: error: this is a fault of abc-tvm")


def test_an_installation_with_gaps_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\")\n")
    command = [sys.executable, "-m", "abc_tvm", "targets"]
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "'click'" in done.stderr and "install it again" in done.stderr


def test_a_reader_that_leaves_is_no_traceback() -> None:
    command = f"{sys.executable} -m abc_tvm targets --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "this needs more memory than the machine has, or than ulimit allows"),
        (OSError(errno.ENOSPC, "No space", "/full/x"), "/full/x: cannot be written or read: "),
        (OSError(errno.ENOENT, "gone", "/x"), cli.FAULT),
    ],
)
def test_what_the_system_refuses_is_no_fault(
    error: Exception, words: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abc_tvm import api

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(api, "inspect", fail)
    capfd.readouterr()
    assert run_command(["inspect", "m.onnx"]) == 2
    err = capfd.readouterr().err
    assert words in err and len(err.splitlines()) == 1


def test_every_command_has_help(capfd: Capture) -> None:
    for command in cli.COMMANDS:
        capfd.readouterr()
        assert run_command([str(command.name), "--help"]) == 0
        assert capfd.readouterr().out.startswith(f"Usage: abc-tvm {command.name}")
    assert run_command([]) == 2 and "Usage: abc-tvm" in capfd.readouterr().err
    assert run_command(["--version"]) == 0


def test_a_fault_asks_for_the_command_and_not_for_its_files() -> None:
    line = cli.fault(KeyError("a\nb"), ["--debug", "compile", "secret.onnx"])
    assert "abc-tvm --debug compile …" in line and "secret" not in line and "\n" not in line
    assert "--debug  …" in cli.fault(KeyError(), [])
