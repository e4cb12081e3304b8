"""``records show``, ``check`` and ``merge`` on folders that were written, not measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.cli import run_command
from abc_tvm.errors import RecordsError, TargetError
from abc_tvm.records.database import Database, LoweringTimes, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import target_json
from abc_tvm.records.task import LAYERS, Task, dump_module, save_layer
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device, load
from abc_tvm.tuning import maintain
from abc_tvm.tuning.workers.local import LocalRunner
from abc_tvm.tuning.workers.runner import Work
from tests.abc_tvm.tuning.crashing import BAD, CRASHING

HANGS_S = 6
"""A choice that takes longer hangs; others take up to 2 s on a busy machine."""

Write = Callable[[Path, dict[int, list[Choice]]], Database]


@pytest.fixture
def write(tasks: list[Task], device: Device) -> Write:
    """``write(root, {number of a task: choices})``: a folder of records that were not measured."""

    def written(root: Path, choices: dict[int, list[Choice]]) -> Database:
        with Database(root / folder_name(device)) as database:
            Manifest.here(device).write(database.folder)
            for number, some in choices.items():
                task = tasks[number]
                save_layer(database.folder, task)
                made = [Record(task.key, c, (1e-6,), target_json(device), []) for c in some]
                database.add(task.key, dump_module(task.module), made)
        return database

    return written


def answer(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> Any:
    capsys.readouterr()
    assert run_command(["records", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_choice_that_crashes_or_hangs_is_wrong_and_the_rest_is_checked(
    write: Write,
    tasks: list[Task],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def crashing(work: Work, *_: object, children: int) -> LocalRunner:
        return LocalRunner(work, HANGS_S, CRASHING, children)

    monkeypatch.setattr(maintain, "LocalRunner", crashing)
    first, second = tasks[0].default, tasks[1].default
    bad = {kind: replace(first, tasks=BAD[kind]) for kind in ("SIGSEGV", "wrong", "hang")}
    write(tmp_path, {0: [bad["SIGSEGV"], first, bad["wrong"], bad["hang"]], 1: [second]})
    facts = answer(capsys, 1, "check", str(tmp_path))
    assert (facts["right"], facts["wrong"], facts["not_checked"]) == (2, 3, 0)
    found = {problem["choice"]: problem["problem"] for problem in facts["problems"]}
    assert found == {
        str(bad["SIGSEGV"]): "ended its process (SIGSEGV)",
        str(bad["wrong"]): found[str(bad["wrong"])],
        str(bad["hang"]): f"took more than {HANGS_S} s",
    }
    assert "elements of result 0 differ" in found[str(bad["wrong"])]


def test_a_layer_that_was_not_kept_is_not_checked(
    write: Write, tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = write(tmp_path, {0: [tasks[0].default]})
    (database.folder / LAYERS / f"{tasks[0].key}.json").unlink()
    facts = answer(capsys, 1, "check", str(tmp_path))
    assert (facts["right"], facts["wrong"], facts["not_checked"]) == (0, 0, 1)


def test_code_for_another_machine_is_not_checked_here(
    write: Write, tasks: list[Task], tmp_path: Path, device: Device
) -> None:
    other = load("rpi4")
    database = write(tmp_path, {0: [tasks[0].default]})
    database.folder.rename(tmp_path / folder_name(other))
    Manifest.here(other).write(tmp_path / folder_name(other))
    with pytest.raises(TargetError, match="does not run its code"):
        list(maintain.check(tmp_path, other, print))


def test_lowerings_are_shown_and_merged(
    write: Write, tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bits, floats = tasks[0].key, tasks[1].key
    slow = LoweringTimes(
        "9x9x32-o32", {"bitserial": (2e-6, (bits,)), "float": (1e-6, (floats, bits))}
    )
    fast = replace(slow, kinds=slow.kinds | {"float": (5e-7, (floats,))})
    other = LoweringTimes("5x5x32-o32", {"bitserial": (2e-6, (bits,)), "int8": (1e-6, ("gone",))})
    choices = {number: [tasks[number].default] for number in (0, 1)}
    for name, lowerings in (("a", [fast, slow]), ("b", [fast, other])):
        database = write(tmp_path / name, choices)
        with database:
            for lowering in lowerings:
                database.add_lowering(lowering)
    names = [name for task in tasks[:2] for name in task.names]
    folder = database.folder.name
    assert answer(capsys, 0, "show", str(tmp_path / "a"))["lowerings"] == [
        {
            "folder": folder,
            "layer": "9x9x32-o32",
            "layers": names,
            "us": {"bitserial": pytest.approx(2.0), "float": pytest.approx(1.0)},
            "workloads": {"bitserial": [bits], "float": [floats, bits]},
        }
    ]
    sources = [str(tmp_path / name) for name in "ab"]
    assert answer(capsys, 0, "merge", *sources, "-o", str(tmp_path / "out"))["added"] == 2
    merged = Database(tmp_path / "out" / folder).read()
    assert merged.lowerings == {slow.layer: slow, other.layer: other}  # the first one's figures
    assert run_command(["records", "show", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "2 layers measured in several kinds of kernel" in said
    row = next(line for line in said.splitlines() if "2.0" in line and "1.0" in line)
    assert ", ".join(names) in row


def test_a_folder_without_lowerings_shows_none(
    write: Write, tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = write(tmp_path, {0: [tasks[0].default]})
    assert answer(capsys, 0, "show", str(tmp_path))["lowerings"] == []
    assert run_command(["records", "show", str(tmp_path)]) == 0
    assert "kinds of kernel" not in capsys.readouterr().out
    (database.folder / LAYERS / f"{tasks[0].key}.json").write_text("[")
    with pytest.raises(RecordsError, match=r"\.json: damaged"):
        maintain.rows(tmp_path, print)
