"""Records that a compilation uses: the user's folder first, then those that ship."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from abc_tvm.errors import RecordsError
from abc_tvm.records.database import Database, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.relay_passes.context import Measured
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from tvm import tirx

FINAL_ROUNDS = 12
"""Rounds of a measurement in turns with the default; a search measures fewer."""

SHIPPED = "records"
"""Folder of the package ``abc_tvm.schedules`` with shipped records, one folder per target."""

Tell = Callable[[str], None]


def same_target(record: dict[str, Any], device: Device) -> bool:
    """Whether a record's target is the device: all but the number of cores."""
    return record == target_json(device)


def target_json(device: Device) -> dict[str, Any]:
    """The target as records name it. A choice holds for any number of cores."""
    if device.gpu is not None:
        return {"kind": "cuda", "arch": device.gpu.arch}
    return {
        "kind": "llvm",
        "mtriple": device.triple,
        "mcpu": device.cpu,
        "mattr": sorted(device.features),
    }


def typical(seconds: Iterable[float]) -> float:
    """The mean of the three least: what a call takes where nothing else runs.

    On a busy machine rounds fall into two groups, alone and preempted, and the median into
    either (measured: 0.85 and 4.9 ms of one kernel, half of the rounds each).
    """
    return fmean(sorted(seconds)[:3])


def best(records: Iterable[Record]) -> Record | None:
    """The best of the records of one workload.

    Those measured in turns with the default go first; a single lucky measurement in the search
    does not beat them.
    """
    good = [r for r in records if not r.failed]
    finals = {r.choice: r for r in good if len(r.seconds) >= FINAL_ROUNDS}  # the latest of each
    if finals:
        return min(finals.values(), key=lambda r: typical(r.seconds))
    return min(good, key=lambda r: r.best, default=None)


class RecordSet:
    """Best choices by workload, from several folders; an earlier folder wins."""

    def __init__(self, device: Device, databases: list[Database]) -> None:
        self._choices: dict[str, tuple[Database, Choice]] = {}
        self._lowerings: dict[str, Measured] = {}
        self.used = 0
        for database in reversed(databases):
            for layer, lowering in database.lowerings.items():
                times = {kind: seconds for kind, (seconds, _) in lowering.kinds.items()}
                self._lowerings[layer] = Measured(times)
            for key in database.workloads:
                record = best(
                    r
                    for r in database.records
                    if r.workload == key and same_target(r.target, device)
                )
                if record is not None:
                    self._choices[key] = (database, record.choice)

    def __len__(self) -> int:
        return len(self._choices) + len(self._lowerings)

    def lowering(self, layer: str) -> Measured | None:
        """What a layer took in each lowering; ``None`` where it was not measured."""
        return self._lowerings.get(layer)

    def choice(self, workload: tirx.PrimFunc) -> Choice | None:
        """The best choice for a plain PrimFunc; ``None`` where nothing is recorded for it.

        Raises ``RecordsError`` where what is recorded is damaged.
        """
        from abc_tvm.records.task import module_of, workload_key

        if not self._choices:
            return None
        module = module_of(workload)
        key = workload_key(module)
        record = self._choices.get(key)
        if record is None:
            return None
        import tvm_ffi

        if not tvm_ffi.structural_equal(module, record[0].module(key)):
            return None  # two computations of one hash
        self.used += 1
        return record[1]


def shipped_folder(device: Device) -> Path:
    """Where the records of a device ship, if they do."""
    from abc_tvm import schedules

    return Path(str(schedules.__file__)).parent / SHIPPED / folder_name(device)


def open_records(device: Device, folder: str | os.PathLike[str] | None, tell: Tell) -> RecordSet:
    """The records for ``device``: from ``folder`` (one that ``tune`` wrote), then shipped ones.

    Records of another version are left out, which ``tell`` hears about where they are the user's.

    Raises:
        RecordsError: The folder does not exist, or is damaged.
    """
    databases = []
    if folder is not None:
        root = Path(folder)
        if not root.is_dir():
            raise RecordsError(f"{root}: there is no such folder of tuning records")
        own = root / folder_name(device)
        if Manifest.read(own) is None:
            tell(f"{root}: no records for the target {device.name} ({own.name}); using defaults")
        else:
            databases += _usable(own, device, tell)
    shipped = shipped_folder(device)
    if shipped.is_dir():
        databases += _usable(shipped, device, lambda _: None)
    return RecordSet(device, databases)


def _usable(folder: Path, device: Device, tell: Tell) -> list[Database]:
    manifest = Manifest.read(folder)
    why = manifest.mismatch(Manifest.here(device)) if manifest else "no manifest"
    if why is not None:
        tell(f"{folder}: records are not used: {why}: tune again into another folder")
        return []
    return [Database(folder, tell).read()]
