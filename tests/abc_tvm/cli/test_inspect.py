"""``abc-tvm inspect``: one row a layer, and what rounding would change."""

from __future__ import annotations

from pathlib import Path

from abc_tvm.cli import run_command
from tests.abc_tvm.cli.commands import Capture, answer


def test_inspect(small: Path, capsys: Capture) -> None:
    facts = answer(capsys, "inspect", small / "m.onnx", "--lowering", "bitserial")
    first, second = facts["layers"]
    assert (first["name"], second["name"]) == ("block/conv1", "block/conv2")
    assert {"name", "op", "shape", "macs", "M", "N", "lowering", "reason"} <= set(first)
    assert (first["M"], first["N"], first["lowering"]) == (1, 1, "bitserial")
    assert first["macs"] == 6 * 6 * 16 * 8 * 9


def test_inspect_with_rounding(tmp_path: Path, capsys: Capture) -> None:
    """On a device with dot products, nine pairs of planes whose scales are no multiples."""
    model = tmp_path / "lenet.onnx"
    assert run_command(["zoo", "lenet", "-M", "5", "-N", "5", "-o", str(model)]) == 0
    command = ["inspect", model, "-t", "icelake-server"]
    plain = answer(capsys, *command)
    assert plain["int8_layers"] == 0
    assert any("--allow-int8" in row["reason"] for row in plain["layers"])
    allowed = answer(capsys, *command, "--allow-int8")
    bounds = [row["error_bound"] for row in allowed["layers"] if row["lowering"] == "int8"]
    assert allowed["int8_layers"] == len(bounds) > 0 and all(0 < e <= 0.02 for e in bounds)
    strict = answer(capsys, *command, "--int8-error", str(min(bounds) / 2))
    assert strict["int8_layers"] == 0
    assert any("more than the" in row["reason"] for row in strict["layers"])
