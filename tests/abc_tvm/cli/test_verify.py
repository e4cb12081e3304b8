"""``abc-tvm verify``: what it compares, and exit code 1 where that differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.checks.verify import network as check
from abc_tvm.cli import run_command
from tests.abc_tvm.cli.commands import Capture, answer


def test_verify(small: Path, capsys: Capture) -> None:
    model = small / "m.onnx"
    facts = answer(capsys, "verify", model, "--per-layer", "--lowering", "bitserial")
    assert facts["passed"] is True
    assert facts["flipped_bits"] == 0
    # Two planes each: Sign has a third level, 0, which both inputs can reach.
    assert facts["checked_bits"] == 4 * 6 * 6 * 2 * (8 + 16)
    assert facts["argmax_agreement"] == 1.0
    assert facts["criterion"]


def test_a_mismatch_is_exit_code_1(
    small: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = check.verify

    def wrong(*given: Any, **named: Any) -> check.Verification:
        return replace(right(*given, **named), passed=False, faults=("layer 'a' is wrong",))

    monkeypatch.setattr(check, "verify", wrong)
    capsys.readouterr()
    assert run_command(["verify", str(small / "m.onnx")]) == 1
    said = capsys.readouterr().out
    assert "FAILED: largest error" in said and "layer 'a' is wrong" in said


def test_a_network_in_float_says_so(small: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert run_command(["verify", str(small / "float.onnx"), "--per-layer"]) == 0
    assert check.NOTHING in capsys.readouterr().out.replace("\n", " ")
