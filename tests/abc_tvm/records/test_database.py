from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.errors import RecordsError
from abc_tvm.records.database import KEY, LOCK, RECORDS, WORKLOADS, Database, Record
from abc_tvm.records.records import target_json
from abc_tvm.records.task import Task, dump_module
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

TARGET = {"kind": "llvm", "mtriple": "t", "mcpu": "c", "mattr": []}


def record(workload: str, number: int) -> Record:
    return Record(workload, Choice(Tile(1, number, 1)), (number * 1e-6, 2e-6), TARGET, [])


def filled(folder: Path) -> list[Record]:
    made = [record(key, n) for key in ("11", "22") for n in (1, 2, 3)]
    with Database(folder) as database:
        for r in made:
            database.add(r.workload, f"module {r.workload}", [r])
    return made


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = filled(tmp_path)
    found = Database(tmp_path).read()
    assert found.records == made
    assert found.workloads == {"11": "module 11", "22": "module 22"}


def test_meta_schedule_reads_the_files(tmp_path: Path, tasks: list[Task], device: Device) -> None:
    import tvm_ffi
    from tvm import s_tir
    from tvm.s_tir.meta_schedule.database import JSONDatabase

    with Database(tmp_path) as database:
        for task in tasks:
            made = Record(task.key, task.default, (3e-6, 2e-6), target_json(device), [])
            database.add(task.key, dump_module(task.module), [made])
    stored = JSONDatabase(str(tmp_path / WORKLOADS), str(tmp_path / RECORDS))
    found = stored.get_all_tuning_records()
    assert len(found) == len(tasks)
    for task in tasks:
        mine = next(r for r in found if tvm_ffi.structural_equal(r.workload.mod, task.module))
        assert [float(s) for s in mine.run_secs] == [3e-6, 2e-6]
        sch = s_tir.Schedule(mine.workload.mod)
        mine.trace.apply_to_schedule(sch, remove_postproc=False)
        note = str(sch.get(sch.get_sblock("root")).annotations[KEY])
        assert note.startswith(f"workload={task.key} rows=")


@pytest.mark.parametrize("name", [WORKLOADS, RECORDS])
@pytest.mark.parametrize("lost", [1, 7])
def test_a_torn_last_line_costs_that_line_alone(tmp_path: Path, name: str, lost: int) -> None:
    made = filled(tmp_path)
    path = tmp_path / name
    if name == WORKLOADS:  # a workload reaches the disk before its first record
        path.write_bytes(path.read_bytes() + b'["33","mod')
        expected = made
    else:
        path.write_bytes(path.read_bytes()[:-lost])
        expected = made[:-1]
    assert Database(tmp_path).read().records == expected
    said: list[str] = []
    with Database(tmp_path, said.append) as database:
        assert database.records == expected
        database.add("33", "module 33", [record("33", 1)])
    assert [name in line and "torn last line" in line for line in said] == [True]
    assert Database(tmp_path).read().records == [*expected, record("33", 1)]


def test_a_damaged_line_inside_is_named(tmp_path: Path) -> None:
    filled(tmp_path)
    lines = (tmp_path / RECORDS).read_text().splitlines()
    lines[1] = lines[1][:20]
    (tmp_path / RECORDS).write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordsError, match=r"database_tuning_record\.json, line 2: damaged"):
        Database(tmp_path).read()


def test_a_record_of_another_workload_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    lines = (tmp_path / RECORDS).read_text().splitlines()
    lines[3] = "[0," + lines[3].partition(",")[2]
    (tmp_path / RECORDS).write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordsError, match=r"line 4: damaged .it belongs to another workload"):
        Database(tmp_path).read()


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    made = filled(tmp_path)
    size = (tmp_path / RECORDS).stat().st_size
    # A process of its own, whose files may not grow beyond what one more line would need: the
    # kernel writes a part of the line and then refuses, as a full disk does.
    code = f"""
import resource, signal
from pathlib import Path
from abc_tvm.errors import RecordsError
from abc_tvm.records.database import Database
from tests.abc_tvm.records.test_database import record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with Database(Path({str(tmp_path)!r})) as database:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 40}, {size + 40}))
        database.add("22", "module 22", [record("22", 4)])
except RecordsError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "cannot be written" in done.stdout and "--continue" in done.stdout
    assert (tmp_path / RECORDS).stat().st_size == size
    assert Database(tmp_path).read().records == made


def test_a_second_writer_waits_and_says_so(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from abc_tvm.records.database import Database
with Database(Path({str(tmp_path)!r}), lambda text: print(text, flush=True)):
    print("in", flush=True)
"""
    with Database(tmp_path) as database:
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        said = other.stdout.readline()
        assert f"process {os.getpid()} tunes here; waiting" in said
        database.add("11", "module 11", [record("11", 1)])
    assert other.stdout.readline() == "in\n"
    assert other.wait(60) == 0


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from abc_tvm.records.database import Database
with Database(Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL and (tmp_path / LOCK).exists()
    said: list[str] = []
    with Database(tmp_path, said.append):
        assert said == []
