"""Options that commands share: numbers in their ranges, and one argument for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from abc_tvm.cli import options
from abc_tvm.cli.options import MOST_ERROR
from tests.abc_tvm.cli.commands import Capture, refused


def test_errors_of_rounding_are_shares(small: Path, capfd: Capture) -> None:
    model = small / "m.onnx"
    refused(capfd, ["inspect", model, "--int8-error", "1.5"], "--int8-error")
    refused(capfd, ["inspect", model, "--int8-error", "0"], "--int8-error")


def seen(arguments: list[str], *decorators: Any) -> Any:
    """What a command with these options gets, or its complaint."""
    got: dict[str, Any] = {}

    def command(**named: Any) -> None:
        got.update(named)

    for decorator in reversed(decorators):
        command = decorator(command)
    result = CliRunner().invoke(click.command()(command), arguments)
    return got if result.exit_code == 0 else result.output


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], None),
        (["--allow-int8"], MOST_ERROR),
        (["--int8-error", "0.1"], 0.1),
        (["--allow-int8", "--int8-error", "0.1"], 0.1),
    ],
)
def test_rounding_is_one_argument(arguments: list[str], wanted: float | None) -> None:
    assert seen(arguments, options.allow_int8) == {"allow_int8": wanted}


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "1e9", "x"])
def test_how_long_a_device_may_be_silent(text: str) -> None:
    assert "Invalid value for '--rpc-timeout'" in seen(["--rpc-timeout", text], options.device)
    assert seen([], options.device)["rpc_timeout"] == 20.0


@pytest.mark.parametrize("text", ["0", "-3", "2147483648", "1.5", ""])
def test_counts(text: str) -> None:
    assert "Invalid value for '--threads'" in seen(["--threads", text], options.threads)
    assert seen(["--threads", "2147483647"], options.threads) == {"threads": 2**31 - 1}


def test_a_target() -> None:
    assert seen([], options.target()) == {"target": "native"}
    assert "Missing option '-t' / '--target'" in seen([], options.target(required=True))


def test_a_second_opinion_is_asked_for_by_default() -> None:
    assert seen([], options.check) == {"check": True}
    assert seen(["--no-check"], options.check) == {"check": False}
