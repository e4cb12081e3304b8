"""Records that ship: small, found without a flag, and only by their own workloads."""

from __future__ import annotations

import base64
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.errors import RecordsError
from abc_tvm.records import records as module
from abc_tvm.records.database import WORKLOADS, Database, LoweringTimes, Record
from abc_tvm.records.manifest import FILE, Manifest, folder_name
from abc_tvm.records.packed import MOST_BYTES, SUFFIX, pack
from abc_tvm.records.records import open_records, target_json
from abc_tvm.records.task import Task, dump_module
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device, load, names
from abc_tvm.tuning.shipping import ship

GOOD, WORSE = Choice(Tile(1, 2, 1)), Choice(Tile(1, 1, 1), unroll=2)

HUGE_DICTIONARY = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]


@pytest.fixture
def shipped(
    tmp_path: Path, tasks: list[Task], device: Device, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder that ships the first task's record, found as the package's own."""
    tuned = tmp_path / "tuned" / folder_name(device)
    with Database(tuned) as database:
        Manifest.here(device).write(tuned)
        for choice, seconds in ((WORSE, 2e-6), (GOOD, 1e-6)):
            made = Record(tasks[0].key, choice, (seconds,), target_json(device), [])
            database.add(tasks[0].key, dump_module(tasks[0].module), [made])
        database.add_lowering(LoweringTimes("layer", {"bitserial": (1e-6, (tasks[0].key,))}))
    folder = tmp_path / "shipped"
    assert ship(tuned, folder) == 1
    monkeypatch.setattr(module, "shipped_folder", lambda _: folder)
    return folder


def test_the_best_record_is_found_without_a_flag(
    shipped: Path, tasks: list[Task], device: Device
) -> None:
    found = open_records(device, None, print)
    assert found.choice(tasks[0].workload.func) == GOOD
    assert found.choice(tasks[1].workload.func) is None
    measured = found.lowering("layer")
    assert measured is not None and measured.winner == "bitserial"
    assert not (shipped / WORKLOADS).exists() and not (shipped / "layers").exists()


def test_the_user_goes_first(
    shipped: Path, tmp_path: Path, tasks: list[Task], device: Device
) -> None:
    own = tmp_path / "own" / folder_name(device)
    with Database(own) as database:
        Manifest.here(device).write(own)
        made = Record(tasks[0].key, WORSE, (9e-6,), target_json(device), [])
        database.add(tasks[0].key, dump_module(tasks[0].module), [made])
    assert open_records(device, own.parent, print).choice(tasks[0].workload.func) == WORSE


def test_another_version_is_left_out(shipped: Path, tasks: list[Task], device: Device) -> None:
    manifest = Manifest.here(device)
    manifest.abc_tvm = "0"
    manifest.write(shipped)
    assert open_records(device, None, print).choice(tasks[0].workload.func) is None


def test_a_damaged_file_is_named(shipped: Path, device: Device) -> None:
    (shipped / (WORKLOADS + SUFFIX)).write_bytes(b"nothing")
    with pytest.raises(RecordsError, match=r"database_workload\.json\.xz: damaged"):
        open_records(device, None, print)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:-20], "ends too early"),
        (lambda data: b"", "ends too early"),
        (lambda data: data + b"more", "something follows its end"),
        (lambda data: lzma.compress(bytes(MOST_BYTES + 1), preset=0), "unpacks to more than"),
        (lambda data: lzma.compress(b"x", filters=HUGE_DICTIONARY), "[Mm]emory"),
        (lambda data: lzma.compress(b"[1, 2]\n"), "damaged"),
    ],
)
def test_other_archives_are_one_line_that_names_the_file(
    damage: Callable[[bytes], bytes], why: str, shipped: Path, device: Device
) -> None:
    path = shipped / (WORKLOADS + SUFFIX)
    path.write_bytes(damage(path.read_bytes()))
    assert path.stat().st_size < 1 << 18
    with pytest.raises(RecordsError, match=why) as caught:
        open_records(device, None, print)
    assert str(path) in str(caught.value)


def test_a_module_that_is_none_is_named_with_its_file(
    shipped: Path, tasks: list[Task], device: Device
) -> None:
    path = shipped / (WORKLOADS + SUFFIX)
    for text in ("AAAA", base64.b64encode(b"{}").decode()):
        path.write_bytes(pack({tasks[0].key: text}))
        with pytest.raises(RecordsError) as caught:
            open_records(device, None, print).choice(tasks[0].workload.func)
        assert f"{path}: workload {tasks[0].key}: damaged" in str(caught.value)
    plain = shipped / WORKLOADS
    plain.write_text(f'["{tasks[0].key}","%%%"]\n')
    with pytest.raises(RecordsError) as caught:
        open_records(device, None, print).choice(tasks[0].workload.func)
    assert f"{plain}: workload {tasks[0].key}: damaged" in str(caught.value)


def test_what_ships_is_for_a_known_machine_and_this_version() -> None:
    from abc_tvm import schedules

    root = Path(str(schedules.__file__)).parent / module.SHIPPED
    for folder in root.iterdir() if root.is_dir() else []:
        manifest = Manifest.read(folder)
        assert manifest is not None, f"{folder} has no {FILE}"
        known = [load(name) for name in names()]
        here = [d for d in known if folder_name(d) == folder.name]
        device = here[0] if here else None
        database = Database(folder, print).read()
        assert database.records and all(not r.failed for r in database.records)
        if device is not None:
            assert manifest.mismatch(Manifest.here(device)) is None
            assert all(module.same_target(r.target, device) for r in database.records)
