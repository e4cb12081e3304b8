"""The files of one target: meta_schedule's two JSON files, written so that nothing is lost.

``database_workload.json`` has a line ``[hash, module]`` for each workload,
``database_tuning_record.json`` a line ``[workload number, [trace, seconds, target, arguments]]``
for each measurement; ``tvm.s_tir.meta_schedule.database.JSONDatabase`` reads them. The trace
annotates the workload's root with the choice and with the workload's hash, so that a record
cannot pass for one of another workload even where lines were mixed.

``database_lowering.json`` is ours alone: a line ``[layer, {kind: [seconds, [workload, ...]]}]``
says what a layer of a network took in each lowering, and with which kernels; the last line of a
layer counts. ``database_suspects.json`` is too: see :mod:`.suspects`.

A line is one ``write`` and reaches the disk before the next: a process that is killed leaves at
most a torn last line, which the next writer removes and readers skip.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_tvm.errors import RecordsError
from abc_tvm.files import read_regular, refuse_other
from abc_tvm.records.packed import SUFFIX, unpack
from abc_tvm.records.suspects import Suspect
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import choice_of

if TYPE_CHECKING:
    import tvm

WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
LOWERINGS = "database_lowering.json"
SUSPECTS = "database_suspects.json"
LOCK = "lock"
KEY = "abc.choice"
FAILED_S = 1e10
"""meta_schedule's time of a candidate that did not build or gave a wrong result."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """One measurement: seconds of each round."""

    workload: str
    choice: Choice
    seconds: tuple[float, ...]
    target: dict[str, Any]
    arguments: list[list[Any]]

    @property
    def failed(self) -> bool:
        return not self.seconds or max(self.seconds) >= FAILED_S

    @property
    def best(self) -> float:
        return min(self.seconds)

    def line(self, number: int) -> str:
        """The line in the file, for the workload of that number."""
        words = {"workload": self.workload, **self.choice.words()}
        note = " ".join(f"{name}={value}" for name, value in words.items())
        trace = [
            [
                ["GetSBlock", [], ["root", "main"], ["b0"]],
                ["Annotate", ["b0", json.dumps(note)], [KEY], []],
            ],
            [],
        ]
        body = [trace, list(self.seconds), self.target, self.arguments]
        return json.dumps([number, body], separators=(",", ":"), sort_keys=True)

    @staticmethod
    def parse(line: str) -> tuple[int, Record]:
        """The number of the workload and the record. Raises ``ValueError``."""
        try:
            number, (trace, seconds, target, arguments) = json.loads(line)
            note = dict(word.split("=") for word in json.loads(trace[0][1][1][1]).split())
            workload = note.pop("workload")
            if trace[0][1][2] != [KEY] or type(number) is not int:
                raise ValueError("another tuner's record")
            times = tuple(float(s) for s in seconds)
            if not all(0 <= s < math.inf for s in times):
                raise ValueError(f"no seconds: {times}")
        except (TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a record: {error}") from error
        return number, Record(str(workload), choice_of(note), times, target, arguments)


OLD_WORDS = {"bits": "bitserial", "bytes": "int8"}
"""What earlier versions called a lowering in the files that they wrote."""


@dataclass(frozen=True)
class LoweringTimes:
    """What one layer took, lowered in each way: ``kinds`` maps to seconds and workloads."""

    layer: str
    kinds: dict[str, tuple[float, tuple[str, ...]]]

    def line(self) -> str:
        """The line in the file."""
        kinds = {kind: [seconds, list(keys)] for kind, (seconds, keys) in self.kinds.items()}
        return json.dumps([self.layer, kinds], separators=(",", ":"), sort_keys=True)

    @staticmethod
    def parse(line: str) -> LoweringTimes:
        """What :meth:`line` wrote. Raises ``ValueError``."""
        try:
            layer, kinds = json.loads(line)
            lowerings = {
                OLD_WORDS.get(kind, str(kind)): (float(seconds), tuple(str(key) for key in keys))
                for kind, (seconds, keys) in kinds.items()
            }
            if not all(0 <= seconds < math.inf for seconds, _ in lowerings.values()):
                raise ValueError("not a lowering: no seconds")
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a lowering: {error}") from error
        return LoweringTimes(str(layer), lowerings)


class Database:
    """The records of one folder, in memory; :meth:`lock` allows to add to them.

    ``workloads`` maps the structural hash to the module's JSON form, in the file's order.
    """

    def __init__(self, folder: Path, tell: Tell = print) -> None:
        self.folder, self.tell = folder, tell
        self.workloads: dict[str, str] = {}
        self.records: list[Record] = []
        self.lowerings: dict[str, LoweringTimes] = {}
        self.suspects: list[Suspect] = []
        self._lock: Any = None

    # ---- reading ----------------------------------------------------------------------

    def read(self) -> Database:
        """Read the files; a torn last line is skipped. Raises ``RecordsError``."""
        self.workloads, self.records, self.lowerings, self.suspects = {}, [], {}, []
        for where, line in self._lines(WORKLOADS):
            try:
                key, module = json.loads(line)
            except (ValueError, TypeError, RecursionError) as error:
                raise _damaged(where, error) from error
            if key in self.workloads:
                raise _damaged(where, "the workload is there twice")
            self.workloads[str(key)] = str(module)
        order = list(self.workloads)
        for where, line in self._lines(RECORDS):
            try:
                number, record = Record.parse(line)
            except ValueError as error:
                raise _damaged(where, error) from error
            if not 0 <= number < len(order) or order[number] != record.workload:
                raise _damaged(where, "it belongs to another workload than its number says")
            self.records.append(record)
        for where, line in self._lines(LOWERINGS):
            try:
                lowering = LoweringTimes.parse(line)
            except ValueError as error:
                raise _damaged(where, error) from error
            self.lowerings[lowering.layer] = lowering
        for where, line in self._lines(SUSPECTS):
            try:
                suspect = Suspect.parse(line)
            except ValueError as error:
                raise _damaged(where, error) from error
            self.suspects.append(suspect)
        return self

    def _lines(self, name: str) -> Iterator[tuple[str, str]]:
        path = self.folder / name
        data = read_regular(path, RecordsError) if path.exists() else self._packed(path)
        try:
            text = data[: _whole(data)].decode()
        except UnicodeDecodeError as error:
            raise _damaged(str(path), error) from error
        for number, line in enumerate(text.split("\n")[:-1], 1):
            yield f"{path}, line {number}", line

    def _packed(self, path: Path) -> bytes:
        """The contents of a file that is there in the form in which it ships."""
        packed = path.with_name(path.name + SUFFIX)
        if not packed.exists():
            return b""
        try:
            return unpack(read_regular(packed, RecordsError)).encode()
        except (ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
            raise _damaged(str(packed), error) from error

    def module(self, key: str) -> tvm.IRModule:
        """The module of a workload. Raises ``RecordsError`` where it is none."""
        from abc_tvm.records.task import load_module

        plain = self.folder / WORKLOADS
        path = plain if plain.exists() else plain.with_name(plain.name + SUFFIX)
        return load_module(self.workloads[key], f"{path}: workload {key}")

    # ---- writing ----------------------------------------------------------------------

    def __enter__(self) -> Database:
        """Take the folder for writing; waits, and says so, while another tuner has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in (LOCK, WORKLOADS, RECORDS, LOWERINGS, SUSPECTS):
                refuse_other(self.folder / name, RecordsError)
            self._lock = (self.folder / LOCK).open("ab+", buffering=0)
        except OSError as error:
            raise RecordsError(f"{self.folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().decode(errors="replace").strip() or "?"
            self.tell(f"{self.folder}: process {owner} tunes here; waiting until it ends")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):  # a full disk, which the first record will name
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()}\n".encode())
        try:
            for name in (WORKLOADS, RECORDS, LOWERINGS, SUSPECTS):
                self._salvage(self.folder / name)
            return self.read()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.close()
        self._lock = None

    def _salvage(self, path: Path) -> None:
        if not path.exists():
            return
        try:
            data = read_regular(path, RecordsError)
            whole = _whole(data)
            if whole < len(data):
                os.truncate(path, whole)
        except OSError as error:
            raise RecordsError(f"{path}: cannot be written: {error.strerror}") from error
        if whole < len(data):
            self.tell(f"{path}: removed a torn last line of {len(data) - whole} bytes")

    def add(self, workload: str, module: str, records: list[Record]) -> None:
        """Append measurements of one workload; they are on the disk on return.

        Raises ``RecordsError`` where the disk is full; what was there before stays.
        """
        if workload not in self.workloads:
            self._append(WORKLOADS, json.dumps([workload, module], separators=(",", ":")) + "\n")
            self.workloads[workload] = module
        number = list(self.workloads).index(workload)
        text = "".join(record.line(number) + "\n" for record in records)
        self._append(RECORDS, text)
        self.records += records

    def add_lowering(self, lowering: LoweringTimes) -> None:
        """Append what a layer took; it is on the disk on return. Raises as :meth:`add`."""
        if self.lowerings.get(lowering.layer) != lowering:
            self._append(LOWERINGS, lowering.line() + "\n")
            self.lowerings[lowering.layer] = lowering

    def add_suspect(self, suspect: Suspect) -> None:
        """Append a device's death; it is on the disk on return. Raises as :meth:`add`."""
        self._append(SUSPECTS, suspect.line() + "\n")
        self.suspects.append(suspect)

    def _append(self, name: str, text: str) -> None:
        if self._lock is None:
            raise RecordsError(f"{self.folder}: not locked for writing")
        path, data = self.folder / name, text.encode()
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _write_whole(handle, data)
            finally:
                os.close(handle)
        except OSError as error:
            raise RecordsError(
                f"{path}: cannot be written: {error.strerror}; what was measured before is "
                "kept: make room and run again with --continue"
            ) from error


def _write_whole(handle: int, data: bytes) -> None:
    """Append all of ``data``, or nothing. Raises ``OSError``."""
    before = os.fstat(handle).st_size
    try:
        written = 0
        while written < len(data):  # a disk that fills up takes a part first
            written += os.write(handle, data[written:])
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise


def _whole(data: bytes) -> int:
    """Length of the part that is whole lines.

    A line that ends but does not parse was not torn by a killed process: that is for the user.
    """
    return data.rfind(b"\n") + 1


def _damaged(where: str, why: object) -> RecordsError:
    return RecordsError(f"{where}: damaged ({why}): restore the file, or remove the folder")
