"""``abc-tvm records``: what a folder holds, merged, and checked; exit code 1 where one is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abc_tvm.cli import run_command
from abc_tvm.compute.accumulate import Tile
from abc_tvm.records.database import FAILED_S, Database, LoweringTimes, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import target_json
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import load
from abc_tvm.tuning import maintain
from abc_tvm.tuning.maintain import Finding
from tests.abc_tvm.cli.commands import Capture, answer, refused

DEVICE = load("zen4")
GOOD, BAD = Choice(Tile(1, 2, 1)), Choice(Tile(1, 1, 1))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder of one workload: a good choice, a failed one, and a layer in two kinds."""
    folder = tmp_path / "r" / folder_name(DEVICE)
    with Database(folder) as database:
        Manifest.here(DEVICE).write(folder)
        for choice, seconds in ((GOOD, 2e-6), (BAD, FAILED_S)):
            record = Record("7", choice, (seconds,), target_json(DEVICE), [])
            database.add("7", "AAAA", [record])
        database.add_lowering(LoweringTimes("layer", {"bits": (1e-6, ("7",))}))
    return tmp_path / "r"


def test_show(kept: Path, capsys: Capture) -> None:
    facts = answer(capsys, "records", "show", kept)
    (row,) = facts["workloads"]
    assert (row["records"], row["failed"]) == (2, 1)
    assert row["best_us"] == pytest.approx(2.0)
    assert len(facts["lowerings"]) == 1
    assert run_command(["records", "show", str(kept)]) == 0
    assert "1 workloads" in capsys.readouterr().out


def test_merge(kept: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "all"
    assert answer(capsys, "records", "merge", kept, "-o", out)["added"] == 2
    assert answer(capsys, "records", "merge", kept, "-o", out)["added"] == 0
    assert answer(capsys, "records", "show", out)["workloads"][0]["records"] == 2


def test_what_is_not_there(tmp_path: Path, capfd: Capture) -> None:
    refused(capfd, ["records", "show", tmp_path / "none"], "none")
    refused(capfd, ["records", "merge", "-o", tmp_path / "x"], "DIR")


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([Finding("7", str(GOOD), "", True)], 0),
        ([Finding("7", str(GOOD), "crashed", True)], 1),
        ([Finding("7", str(GOOD), "its layer was not kept", False)], 1),
    ],
)
def test_check(
    findings: list[Any], code: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintain, "check", lambda *_: findings)
    assert run_command(["records", "check", "r"]) == code
    said = capsys.readouterr().out
    assert all(finding.problem in said for finding in findings)
