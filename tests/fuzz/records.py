"""Damaged folders of tuning records: refused in one line, or the same results."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx

import abc_tvm
from abc_tvm.errors import UserError
from abc_tvm.records.database import Database, LoweringTimes, Record
from abc_tvm.records.manifest import Manifest, folder_name
from abc_tvm.records.records import target_json
from abc_tvm.records.task import dump_module
from abc_tvm.tuning.network import tasks_of

from .command_line import limit_addresses
from .judge import Outcome, device, internal, refusal
from .mutations import Rng, choose, damage_bytes
from .values import Array
from .workers import Task

CHOICES = 3
"""Records of each kernel."""


def make(seed: int, out: str | None) -> Task:
    """A task that damages the records of a small network, and compiles with them."""
    from tests.abc_tvm.small_networks import network

    limit_addresses()
    home = Path(tempfile.mkdtemp(prefix="abc-fuzz-records-"))
    model = network(dims=(2, 8, 6, 6))
    x = np.random.default_rng([seed, 19]).integers(-3, 4, (2, 8, 6, 6)).astype(np.float32)
    good = home / "good"
    write_records(good, model)
    expected = _compiled(model, good, home / "a.so", x)

    def task(number: int) -> Outcome:
        rng = np.random.default_rng([seed, number, 20])
        with tempfile.TemporaryDirectory(prefix="abc-fuzz-") as folder:
            root = Path(folder, "records")
            shutil.copytree(good, root)
            done = _damage(rng, root)
            try:
                got = _compiled(model, root, Path(folder, "a.so"), x)
            except UserError as error:
                outcome = refusal(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001  all others are findings
                outcome = internal(error)
            else:
                same = np.array_equal(got, expected)
                outcome = Outcome("right") if same else Outcome("wrong", "values", done)
            if outcome.is_finding and out is not None:
                kept = Path(out, f"records_{seed}_{number}")
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(root, kept, symlinks=True)
            return outcome

    return task


def write_records(root: Path, model: onnx.ModelProto) -> None:
    """A folder as tuning leaves it, with times that nobody measured."""
    target = device("native", False)
    folder = root / folder_name(target)
    folder.mkdir(parents=True)
    Manifest.here(target).write(folder)
    with Database(folder) as database:
        for task in tasks_of(model, target, lowering="bitserial"):
            choices = list(itertools.islice(task.space.points(), 60))[:: 60 // CHOICES]
            records = [
                Record(task.key, choice, (1e-6 * n, 2e-6), target_json(target), [])
                for n, choice in enumerate(reversed(choices), 1)
            ]
            database.add(task.key, dump_module(task.module), records)
        for layer in ("first", "second"):
            database.add_lowering(
                LoweringTimes(layer, {"bitserial": (1e-6, ()), "float": (2e-6, ())})
            )


def _compiled(model: onnx.ModelProto, records: Path, library: Path, x: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = device("native", False)
        made = abc_tvm.compile(model, target, lowering="bitserial", records=records)
    made.save(library)
    return next(iter(abc_tvm.load(library, threads=1).run(x).values()))


def _damage(rng: Rng, root: Path) -> str:
    """Damage one file; what was done."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = choose(rng, files)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    kind = int(rng.integers(9))
    match kind:
        case 0 | 1 if data:
            at = int(rng.integers(len(data)))
            flipped = data[at] ^ (1 << int(rng.integers(8)))
            path.write_bytes(data[:at] + bytes([flipped]) + data[at + 1 :])
        case 2:
            path.write_bytes(data[: int(rng.integers(len(data) + 1))])
        case 3:
            path.unlink()
        case 4:
            path.write_bytes(damage_bytes(rng, data))
        case 5 if lines:
            rng.shuffle(lines)  # type: ignore[arg-type]
            path.write_bytes(b"".join(lines))
        case 6 if lines:
            path.write_bytes(data + choose(rng, lines))
        case 7:
            path.unlink()
            path.mkdir()
        case _:
            path.write_bytes(choose(rng, (b"", b"[]\n", b"{}\n", b"null\n", b"\n", rng.bytes(50))))
    return f"{kind} on {path.name}"
