"""Commands as users run them: what they answer, and the one line where they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.cli import run_command

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    """The JSON object on stdout of a command that succeeds."""
    capsys.readouterr()
    assert run_command([*map(str, arguments), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def refused(capfd: Capture, arguments: list[str | Path], *words: str) -> None:
    capfd.readouterr()
    assert run_command([str(a) for a in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("abc-tvm: error: ")
    for word in words:
        assert word in err
