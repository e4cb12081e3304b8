"""The same seed and database give the same choices, IR and artifact, byte for byte."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

from abc_tvm.compute.accumulate import Tile
from abc_tvm.records.database import Database, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import target_json
from abc_tvm.records.task import Task, dump_module
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from tests.children import QUICK

PROPOSALS = """
import sys
from abc_tvm.targets import load
from abc_tvm.tuning.learned import Learned
from abc_tvm.tuning.search import next_choice
from abc_tvm.tuning.network import tasks_of
learned = Learned(3)
for task in tasks_of(sys.argv[1], load("native"), lowering="bitserial"):
    for propose in (learned.next, lambda space, seen: next_choice(space, seen, 3)):
        seen = {}
        while len(seen) < 14 and (choice := propose(task.space, seen)) is not None:
            seen[choice] = 1e-6 * (1 + len(str(choice)) % 7)
            print(choice)
"""


def run(number: int, *arguments: str) -> str:
    """Another process, with another order of hash tables."""
    env = {**QUICK, "PYTHONHASHSEED": str(number)}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_artifact_and_ir(
    model: Path, tmp_path: Path, device: Device, tasks: list[Task], sweep: Any
) -> None:
    folder = tmp_path / "records"
    with Database(folder / folder_name(device)) as database:
        Manifest.here(device).write(database.folder)
        for task in tasks:
            choice = Choice(Tile(1, 2, 1), "popcount", unroll=2)
            record = Record(task.key, choice, (1e-6,), target_json(device), [])
            database.add(task.key, dump_module(task.module), [record])
    found = set()
    for number in range(sweep(3, 20)):
        out, dump = tmp_path / f"{number}.so", tmp_path / f"ir{number}"
        options = ["-t", "native", "--lowering", "bitserial", "--records", str(folder)]
        run(
            number, "-m", "abc_tvm", "compile", str(model), *options,
            "--debug-dump", str(dump), "-o", str(out),
        )  # fmt: skip
        texts = [path.read_bytes() for path in sorted(dump.iterdir())]
        assert len(texts) >= 8
        digest = hashlib.sha256(b"\0".join([out.read_bytes(), *texts])).hexdigest()
        found.add((digest, out.stat().st_size))
    assert len(found) == 1


def test_the_same_proposals(model: Path, sweep: Any) -> None:
    found = [run(number, "-c", PROPOSALS, str(model)) for number in range(sweep(2, 20))]
    assert len(set(found)) == 1
    assert len(set(found[0].splitlines())) >= 14
