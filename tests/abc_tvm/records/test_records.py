from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.errors import RecordsError
from abc_tvm.records import records as module
from abc_tvm.records.database import FAILED_S, Database, Record
from abc_tvm.records.manifest import FILE, Manifest, folder_name
from abc_tvm.records.records import FINAL_ROUNDS, best, open_records, target_json
from abc_tvm.records.task import Task, dump_module
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device, load
from abc_tvm.tuning.network import tasks_of
from tests.abc_tvm.small_networks import network, write

OTHER = Choice(Tile(1, 1, 1), taps="all")


def keep(folder: Path, task: Task, choice: Choice, device: Device) -> None:
    Manifest.here(device).write(folder) if folder.is_dir() else None
    with Database(folder) as database:
        Manifest.here(device).write(folder)
        made = Record(task.key, choice, (1e-6,), target_json(device), [])
        database.add(task.key, dump_module(task.module), [made])


def silent(_: str) -> None:
    return


def test_a_record_serves_its_own_workload_alone(
    tmp_path: Path, tasks: list[Task], device: Device
) -> None:
    keep(tmp_path / folder_name(device), tasks[0], OTHER, device)
    found = open_records(device, tmp_path, silent)
    assert found.choice(tasks[0].workload.func) == OTHER
    assert found.choice(tasks[1].workload.func) is None


def test_another_shape_is_another_workload(
    tmp_path: Path, tasks: list[Task], device: Device
) -> None:
    wide = write(tmp_path / "wide.onnx", network(dims=("N", 8, 6, 7)))
    keep(tmp_path / folder_name(device), tasks[0], OTHER, device)
    found = open_records(device, tmp_path, silent)
    for task in tasks_of(str(wide), device, lowering="bitserial"):
        assert found.choice(task.workload.func) is None


def test_an_open_batch_has_the_records_of_one_image(
    tmp_path: Path, tasks: list[Task], model: Path, device: Device
) -> None:
    fixed = tasks_of(str(model), device, batch=1, lowering="bitserial")
    assert [t.key for t in fixed] == [t.key for t in tasks]
    four = tasks_of(str(model), device, batch=4, lowering="bitserial")
    assert not {t.key for t in four} & {t.key for t in tasks}


def test_a_record_of_another_target_is_never_used(
    tmp_path: Path, tasks: list[Task], device: Device
) -> None:
    folder = tmp_path / folder_name(device)
    other = replace(device, cpu="haswell" if device.cpu != "haswell" else "znver4")
    keep(folder, tasks[0], OTHER, device)
    text = (folder / "database_tuning_record.json").read_text()
    swapped = text.replace(json.dumps(device.cpu), json.dumps(other.cpu))
    (folder / "database_tuning_record.json").write_text(swapped)
    assert open_records(device, tmp_path, silent).choice(tasks[0].workload.func) is None
    # The folder of one target under the name of another.
    folder.rename(tmp_path / folder_name(other))
    said: list[str] = []
    assert len(open_records(other, tmp_path, said.append)) == 0
    assert "records are not used: target" in said[0]


@pytest.mark.parametrize("field", ["tvm", "abc_tvm"])
def test_a_record_of_another_version_is_never_used(
    tmp_path: Path, tasks: list[Task], device: Device, field: str
) -> None:
    folder = tmp_path / folder_name(device)
    keep(folder, tasks[0], OTHER, device)
    manifest = json.loads((folder / FILE).read_text())
    manifest[field] = "0.0.1"
    (folder / FILE).write_text(json.dumps(manifest))
    said: list[str] = []
    assert open_records(device, tmp_path, said.append).choice(tasks[0].workload.func) is None
    assert f"records are not used: {field} 0.0.1" in said[0]


def test_the_users_folder_wins_over_shipped_records(
    tmp_path: Path, tasks: list[Task], device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped" / folder_name(device)
    monkeypatch.setattr(module, "shipped_folder", lambda _: shipped)
    for task in tasks:
        keep(shipped, task, OTHER, device)
    mine = replace(OTHER, taps="none")
    keep(tmp_path / "mine" / folder_name(device), tasks[0], mine, device)
    found = open_records(device, None, silent)
    assert [found.choice(t.workload.func) for t in tasks] == [OTHER] * len(tasks)
    found = open_records(device, tmp_path / "mine", silent)
    assert [found.choice(t.workload.func) for t in tasks] == [mine, *[OTHER] * (len(tasks) - 1)]


def test_no_folder_and_no_manifest_are_said(tmp_path: Path, device: Device) -> None:
    with pytest.raises(RecordsError, match="there is no such folder"):
        open_records(device, tmp_path / "none", silent)
    said: list[str] = []
    open_records(load("haswell"), tmp_path, said.append)
    assert "no records for the target haswell" in said[0]


def test_finals_go_before_lucky_measurements() -> None:
    def made(columns: int, *seconds: float) -> Record:
        return Record("1", Choice(Tile(1, columns, 1)), seconds, {}, [])

    lucky, failed = made(1, 1e-6), made(2, FAILED_S)
    slow, fast = made(3, *[3e-6] * FINAL_ROUNDS), made(4, *[2e-6] * FINAL_ROUNDS)
    again = made(4, *[4e-6] * FINAL_ROUNDS)
    assert best([lucky, failed]) is lucky
    assert best([failed]) is None
    assert best([lucky, failed, slow, fast]) is fast
    assert best([lucky, slow, fast, again]) is slow
