"""``abc-tvm profile``: every kernel, the rest, and the machine that shares are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.cli import run_command
from tests.abc_tvm.cli.commands import Capture, answer


def test_profile(small: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    command = ["profile", small / "m.onnx", "--lowering", "bitserial", "--repeat", "3"]
    facts = answer(capsys, *command, "--plot", tmp_path / "p.png")
    layers = [row for row in facts["layers"] if row["macs"]]
    assert [row["name"] for row in layers] == ["block/conv1", "block/conv2"]
    for row in layers:
        assert row["kind"] == "bitserial" and row["lowering"] == "bitserial"
        assert row["gmacs"] == pytest.approx(row["macs"] / row["median_us"] / 1e3)
        assert row["macs_per_byte"] == row["macs"] / row["bytes"]
    total = sum(row["median_us"] for row in facts["layers"]) / 1e3
    assert facts["kernels_ms"] == pytest.approx(total)
    assert facts["rest_ms"] == pytest.approx(facts["run"]["median_ms"] - total)
    assert {"machine", "date", "versions", "peaks", "threads"} <= set(facts)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert run_command([str(word) for word in command]) == 0
    shown = capsys.readouterr().out
    assert "rest: virtual machine" in shown and "measured on this machine" in shown
