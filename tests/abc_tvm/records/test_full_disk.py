"""A disk that fills up at any file that ``tune`` writes: one clear line, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.cli import run_command
from abc_tvm.errors import RecordsError
from abc_tvm.records.database import RECORDS, WORKLOADS, Database
from abc_tvm.records.manifest import FILE, folder_name
from abc_tvm.records.task import LAYERS
from abc_tvm.targets import Device
from abc_tvm.tuning import tune as module
from abc_tvm.tuning.workers.runner import Job, JobOutcome, MeasuringMachine, Work

PAGE = 4096
PACKING = 6
"""Points of the space of the kernel that packs the bits of the input."""

SETTINGS: dict[str, Any] = {
    "trials": 12, "seconds": None, "seed": 0, "threads": 1, "batch": None,
    "lowering": "bitserial",
}  # fmt: skip


class Instant:
    """A runner that invents times at once, so that writing is all that a run does."""

    slots = 1

    def __init__(self, work: Work) -> None:
        self.machines = [MeasuringMachine("none")]
        self._jobs: list[Job] = []

    def __enter__(self) -> Instant:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def wait_until_ready(self) -> None:
        return

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self) -> list[JobOutcome]:
        job = self._jobs.pop()
        times = tuple((1e-6 / c.tile.columns,) * job.rounds for c in job.choices)
        return [JobOutcome(job, "none", times)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(pages)`` is a folder on a file system of so many pages; again: another size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = False

    def resize(pages: int) -> Path:
        nonlocal mounted
        again = "remount," if mounted else ""
        options = ["-o", f"{again}size={pages * PAGE}"]
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and not mounted:
            pytest.skip(f"needs a small file system, which only root may mount: {done.stderr}")
        assert done.returncode == 0, done.stderr
        mounted = True
        return disk

    try:
        yield resize
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def run(model: Path, folder: Path, device: Device) -> None:
    with module.tuner(str(model), device, folder, SETTINGS, tell=lambda _: None) as tuner:
        tuner.run()


def test_every_size_of_disk(
    model: Path,
    device: Device,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    sweep: Callable[[Sequence[int], Sequence[int]], Sequence[int]],
) -> None:
    """One page more each time: the next file is the one that does not fit."""
    monkeypatch.setattr(module, "LocalRunner", Instant)
    named = set()
    disk = small_disk(256)
    run(model, disk / "r", device)
    files = [path.stat().st_size for path in disk.rglob("*") if path.is_file()]
    whole = sum(-(-size // PAGE) for size in files)
    shutil.rmtree(disk / "r")
    last = range(whole - 4, whole + 1)
    sizes = sweep([1, 2, 3, 4, whole // 4, *last], range(1, whole + 2))
    for pages in sizes:
        own = disk / "r" / folder_name(device)
        kept: list[Any] = []
        for size in (pages, pages + 1):
            small_disk(size)
            try:
                run(model, disk / "r", device)
            except RecordsError as error:
                said = str(error)
                assert "No space left on device" in said and "\n" not in said
                named |= {n for n in (FILE, LAYERS, WORKLOADS, RECORDS) if n in said}
            else:
                break
            found = Database(own).read().records
            assert found[: len(kept)] == kept
            kept = found
        small_disk(256)
        run(model, disk / "r", device)
        found = Database(own).read().records
        assert found[: len(kept)] == kept and len(found) > len(kept)
        choices = {r.workload: set() for r in found}  # type: dict[str, set[Any]]
        for record in found:
            choices[record.workload].add(record.choice)
        # The space of the kernel that packs bits is smaller than the number of trials.
        whole = SETTINGS["trials"]
        assert sorted(len(c) for c in choices.values()) == [PACKING, whole, whole]
        shutil.rmtree(disk / "r")
    assert named == {FILE, LAYERS, WORKLOADS, RECORDS}


def test_the_command_line_says_it(
    model: Path, small_disk: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_disk(4) / "r"
    words = ["tune", str(model), "-t", "native", "--lowering", "bitserial"]
    assert run_command([*words, "--records", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert str(folder) in said.err and "No space left on device" in said.err
