"""Look after folders of records: list them, merge them, measure nothing but check everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abc_tvm.errors import RecordsError, TargetError
from abc_tvm.files import read_regular
from abc_tvm.records.database import Database, LoweringTimes, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import best, same_target, typical
from abc_tvm.records.task import LAYERS, workload_key
from abc_tvm.targets import Device
from abc_tvm.tuning.workers.local import WORKER, LocalRunner
from abc_tvm.tuning.workers.runner import BUILD_S, Job, Work

Tell = Callable[[str], None]


@dataclass
class WorkloadRow:
    """One workload of one target folder."""

    folder: str
    workload: str
    names: list[str]
    records: int
    failed: int
    best: Record | None

    def json(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "workload": self.workload,
            "layers": self.names,
            "records": self.records,
            "failed": self.failed,
            "best_us": typical(self.best.seconds) * 1e6 if self.best else None,
            "choice": self.best.choice.json() if self.best else None,
        }


@dataclass
class LoweringRow:
    """A layer in doubt of one target folder; ``names`` are the layers that have its kernels."""

    folder: str
    names: list[str]
    lowering: LoweringTimes

    def json(self) -> dict[str, Any]:
        kinds = self.lowering.kinds
        return {
            "folder": self.folder,
            "layer": self.lowering.layer,
            "layers": self.names,
            "us": {kind: seconds * 1e6 for kind, (seconds, _) in kinds.items()},
            "workloads": {kind: list(keys) for kind, (_, keys) in kinds.items()},
        }


def target_folders(root: Path) -> list[Path]:
    """The folders of targets under ``root``. Raises ``RecordsError`` where there is none."""
    folders = sorted(path.parent for path in root.glob("*/manifest.json"))
    if not folders:
        raise RecordsError(f"{root}: no folder of tuning records; abc-tvm tune makes one")
    return folders


def rows(root: Path, tell: Tell) -> list[WorkloadRow]:
    """What is recorded under ``root``."""
    workload_rows = []
    for folder in target_folders(root):
        database = Database(folder, tell).read()
        for key in database.workloads:
            mine = [r for r in database.records if r.workload == key]
            failed = sum(r.failed for r in mine)
            names = _names(folder, key)
            workload_rows.append(
                WorkloadRow(folder.name, key, names, len(mine), failed, best(mine))
            )
    return workload_rows


def lowering_rows(root: Path, tell: Tell) -> list[LoweringRow]:
    """What layers under ``root`` took in each lowering."""
    layer_rows = []
    for folder in target_folders(root):
        for lowering in Database(folder, tell).read().lowerings.values():
            keys = [key for _, kernels in lowering.kinds.values() for key in kernels]
            names = dict.fromkeys(name for key in keys for name in _names(folder, key))
            layer_rows.append(LoweringRow(folder.name, list(names), lowering))
    return layer_rows


def _names(folder: Path, key: str) -> list[str]:
    """The layers of a workload; none where its function was not kept."""
    path = folder / LAYERS / f"{key}.json"
    if not path.exists():
        return []
    try:
        return [str(name) for name in json.loads(read_regular(path, RecordsError))["names"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordsError(f"{path}: damaged ({error}): remove the file") from error


def merge(sources: list[Path], output: Path, tell: Tell) -> int:
    """Add the records of ``sources`` to ``output``; returns how many were new.

    Target by target; a folder of another version than what ``output`` has is refused. Where two
    have measured a layer in several lowerings, the first one's figures stay.

    Raises:
        RecordsError: No records, damaged, or of another version.
    """
    added = 0
    for folder in [f for source in sources for f in target_folders(source)]:
        manifest = Manifest.read(folder)
        target = output / folder.name
        there = Manifest.read(target)
        if manifest is None:
            raise RecordsError(f"{folder}: has no manifest.json: tune made no such folder")
        if there is not None and (why := manifest.mismatch(there)):
            raise RecordsError(f"{folder}: cannot be merged into {target}: {why}")
        source = Database(folder, tell).read()
        with Database(target, tell) as database:
            if there is None:
                manifest.write(target)
            known = set(map(_identity, database.records))
            for key, module in source.workloads.items():
                layer = folder / LAYERS / f"{key}.json"
                if layer.exists() and not (target / LAYERS / layer.name).exists():
                    (target / LAYERS).mkdir(exist_ok=True)
                    shutil.copy2(layer, target / LAYERS / layer.name)
                new = [r for r in source.records if r.workload == key and _identity(r) not in known]
                database.add(key, module, new)
                added += len(new)
            for name, lowering in source.lowerings.items():
                if name not in database.lowerings:
                    database.add_lowering(lowering)
            for suspect in source.suspects:
                if suspect not in database.suspects:
                    database.add_suspect(suspect)
    return added


def _identity(record: Record) -> tuple[Any, ...]:
    return (record.workload, record.choice, record.seconds, str(record.target))


@dataclass
class Finding:
    """The outcome of checking one record: ``problem`` is empty where it is right."""

    workload: str
    choice: str
    problem: str
    checked: bool = True


def check(
    root: Path, device: Device, tell: Tell, seconds: float = BUILD_S, worker: str = WORKER
) -> Iterator[Finding]:
    """Build every distinct choice under ``root`` for ``device`` and compare its results.

    In a child process, as the tuner does (:class:`.local.LocalRunner`): a choice that crashes, or
    takes more than ``seconds``, is wrong, and the others are checked all the same.

    Raises:
        RecordsError: No records for the device, damaged, or of another version.
        TargetError: This machine does not run the code.
    """
    folder = root / folder_name(device)
    manifest = Manifest.read(folder)
    if manifest is None:
        raise RecordsError(f"{root}: no records for the target {device.name} ({folder.name})")
    if why := manifest.mismatch(Manifest.here(device)):
        raise RecordsError(f"{folder}: made for something else: {why}")
    if not device.runs_here():
        raise TargetError(
            f"target {device.name}: this machine does not run its code; check where it runs"
        )
    database = Database(folder, tell).read()
    with LocalRunner(Work(folder, device), seconds, worker, children=1) as runner:
        for key in database.workloads:
            yield from _check_workload(database, key, runner, device)
    for layer, lowering in database.lowerings.items():
        keys = [key for _, kernels in lowering.kinds.values() for key in kernels]
        missing = [key for key in keys if not _measured(database, key)]
        problem = f"no record of its kernel {missing[0]}" if missing else ""
        yield Finding(layer, f"lowering {', '.join(lowering.kinds)}", problem)


def _check_workload(
    database: Database, key: str, runner: LocalRunner, device: Device
) -> Iterator[Finding]:
    if workload_key(database.module(key)) != key:
        yield Finding(key, "", "the module is not the one that its hash says")
        return
    mine = [r for r in database.records if r.workload == key]
    for record in mine:
        if not same_target(record.target, device):
            yield Finding(key, str(record.choice), "the record is of another target")
    if not (database.folder / LAYERS / f"{key}.json").exists():
        yield Finding(key, "", "its layer was not kept beside the records", checked=False)
        return
    for choice in dict.fromkeys(r.choice for r in mine if not r.failed):
        runner.submit(Job(key, (choice,), 0))
        (outcome,) = runner.wait()
        yield Finding(key, str(choice), outcome.failure[:200])


def _measured(database: Database, key: str) -> bool:
    return any(r.workload == key and not r.failed for r in database.records)
