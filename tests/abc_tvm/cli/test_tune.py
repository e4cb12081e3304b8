"""``abc-tvm tune``: the table, the settings that count, and the interrupt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abc_tvm.cli import run_command
from abc_tvm.cli.tune import _percent, _us
from abc_tvm.errors import UserError
from abc_tvm.tuning import tune as work
from tests.abc_tvm.cli.commands import Capture, refused


def test_tuning_a_float_network_says_so(small: Path, tmp_path: Path, capsys: Capture) -> None:
    model, records = str(small / "float.onnx"), str(tmp_path / "r")
    tune = ["tune", model, "-t", "native", "--records", records, "--trials", "1"]
    assert run_command(tune) == 0
    assert "nothing is binarized: what was tuned runs in float" in capsys.readouterr().out


class Stop(UserError):
    """Ends a command once its settings are known."""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``tune`` asks its work for."""
    seen: list[dict[str, Any]] = []

    def tuner(model: str, device: Any, records: str, given: dict[str, Any], **_: Any) -> Any:
        seen.append(given)
        raise Stop("enough")

    stored = {"trials": 7, "seed": 5, "lowering": "int8"}
    monkeypatch.setattr(work, "tuner", tuner)
    monkeypatch.setattr(work, "stored_settings", lambda *_: stored)
    return seen


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], {"trials": work.DEFAULT_TRIALS, "seed": 0, "threads": 1, "lowering": "auto"}),
        (["--trials", "3"], {"trials": 3, "seed": 0}),
        (["--continue"], {"trials": 7, "seed": 5, "threads": 1, "lowering": "int8"}),
        (["--continue", "--trials", "9"], {"trials": 9, "seed": 5}),
        (["--continue", "--lowering", "auto"], {"trials": 7, "lowering": "auto"}),
    ],
)
def test_an_option_counts_before_what_was_stored(
    options: list[str], wanted: dict[str, Any], settings: list[dict[str, Any]], capfd: Capture
) -> None:
    command = ["tune", "m.onnx", "-t", "native", "--records", "r", *options]
    refused(capfd, [*command], "enough")
    assert wanted.items() <= settings[0].items()


def test_nothing_to_tune(
    small: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abc_tvm.tuning.network.make_task", lambda *_: None)
    command = ["tune", small / "m.onnx", "-t", "native", "--records", tmp_path / "r"]
    refused(capfd, [*command], "no layer has a schedule to choose, so there is nothing to tune")


def test_what_is_not_known_is_left_blank() -> None:
    assert _us(None) == _percent(None) == ""
    assert _us(1.25e-6) == "1.2" and _percent(0.5) == "50%"
