"""Whole runs: the command line, killed tuners, two tuners at once."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import abc_tvm
from abc_tvm.cli import run_command
from abc_tvm.records.database import RECORDS, Database
from abc_tvm.records.manifest import FILE, folder_name
from abc_tvm.records.records import FINAL_ROUNDS, open_records
from abc_tvm.records.task import LAYERS, Task
from abc_tvm.targets import Device
from abc_tvm.tuning.network import tasks_of
from tests.abc_tvm.small_networks import chain, network, write
from tests.children import QUICK

Capture = pytest.CaptureFixture[str]


def command(model: Path, folder: Path, *more: str) -> list[str]:
    lowering = ["--lowering", "bitserial", "--json"]
    return ["tune", str(model), "-t", "native", "--records", str(folder), *lowering, *more]


def start(model: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "abc_tvm", *command(model, folder, *more)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        arguments, stdout=pipe, stderr=pipe, text=True, env=QUICK, preexec_fn=_heed_ctrl_c
    )


def _heed_ctrl_c() -> None:
    """A suite that runs in a shell's background ignores Ctrl-C, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def answer(capsys: Capture, *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run_command(list(arguments)) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def tuned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of two choices a layer, and what ``tune`` said; not to be changed."""
    folder, said = tmp_path_factory.mktemp("tuned"), io.StringIO()
    with contextlib.redirect_stdout(said):
        assert run_command(command(model, folder, "--trials", "2", "--seed", "3")) == 0
    return folder, json.loads(said.getvalue())


@pytest.fixture
def folder(tuned: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(tuned[0], tmp_path / "r"))


def test_tune_continue_show_check_merge(
    model: Path,
    tuned: tuple[Path, dict[str, Any]],
    folder: Path,
    device: Device,
    tasks: list[Task],
    capsys: Capture,
) -> None:
    facts = tuned[1]
    assert {row["choices"] for row in facts["tasks"]} == {2}
    assert facts["measured"] == 2 * len(tasks) and not facts["interrupted"]
    assert facts["tuned_us"] <= facts["default_us"]

    again = answer(capsys, *command(model, folder, "--continue"))
    assert again["measured"] == 0 and again["settings"]["trials"] == 2
    assert again["tuned_us"] == pytest.approx(facts["tuned_us"])
    more = answer(capsys, *command(model, folder, "--continue", "--trials", "3"))
    assert more["measured"] == len(tasks)

    shown = answer(capsys, "records", "show", str(folder), "--json")["workloads"]
    assert {row["workload"] for row in shown} == {task.key for task in tasks}
    checked = answer(capsys, "records", "check", str(folder), "--json")
    assert checked["right"] == 3 * len(tasks) and checked["wrong"] == 0

    merged = folder.with_name("merged")
    words = ["records", "merge", str(folder), "-o", str(merged), "--json"]
    added = [answer(capsys, *words)["added"] for _ in range(2)]
    source, copy = (Database(root / folder_name(device)).read() for root in (folder, merged))
    assert added == [len(source.records), 0]
    assert copy.workloads == source.workloads
    assert copy.records == sorted(source.records, key=lambda r: [*copy.workloads].index(r.workload))
    for layer in (source.folder / LAYERS).iterdir():  # so that a check finds the same
        assert (copy.folder / LAYERS / layer.name).read_bytes() == layer.read_bytes()


def test_compiled_with_records_is_the_same_network(
    model: Path, folder: Path, device: Device, tasks: list[Task], rng: np.random.Generator
) -> None:
    own = folder / folder_name(device)
    text = (own / RECORDS).read_text().splitlines()
    # Keep of each workload only a choice that is not the default, so that it must be used.
    kept = [
        line
        for line, r in zip(text, Database(own).read().records, strict=True)
        if all(r.choice != t.default for t in tasks if t.key == r.workload)
    ]
    (own / RECORDS).write_text("\n".join(kept) + "\n")
    records = open_records(device, folder, lambda _: None)
    assert all(records.choice(t.workload.func) not in (None, t.default) for t in tasks)
    x = {"input": rng.normal(size=(2, 8, 6, 6)).astype(np.float32)}
    found = []
    for used in (None, folder):
        output = folder / f"{len(found)}.so"  # a library of the same path may still be loaded
        abc_tvm.compile(str(model), lowering="bitserial", records=used).save(output)
        found.append((output.read_bytes(), abc_tvm.load(output).run(x)))
    assert found[0][0] != found[1][0]
    np.testing.assert_array_equal(found[0][1]["output"], found[1][1]["output"])


def test_a_workload_under_a_wrong_hash_fails_the_check(
    folder: Path, device: Device, tasks: list[Task], capsys: Capture
) -> None:
    for path in (folder / folder_name(device)).glob("database_*.json"):
        path.write_text(path.read_text().replace(tasks[0].key, "123"))
    capsys.readouterr()
    assert run_command(["records", "check", str(folder), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["wrong"] == 1 and facts["problems"][0]["workload"] == "123"


def test_options_given_again_replace_the_stored_ones(
    model: Path, folder: Path, capsys: Capture
) -> None:
    bare = ["tune", str(model), "-t", "native", "--records", str(folder), "--json", "--continue"]
    again = answer(capsys, *bare)
    assert again["measured"] == 0
    assert {"seed": 3, "trials": 2, "lowering": "bitserial"}.items() <= again["settings"].items()
    other = answer(capsys, *bare, "--lowering", "float", "--seed", "4")
    assert {"seed": 4, "trials": 2, "lowering": "float"}.items() <= other["settings"].items()
    assert other["measured"] == 2 * len(other["tasks"])  # other workloads
    assert answer(capsys, *bare)["settings"]["lowering"] == "float"


@pytest.mark.parametrize("name", ["tvm", "abc_tvm"])
def test_records_of_another_version_are_not_continued(
    model: Path, folder: Path, device: Device, capsys: Capture, name: str
) -> None:
    own = folder / folder_name(device)
    manifest = json.loads((own / FILE).read_text())
    (own / FILE).write_text(json.dumps(manifest | {name: "0.0.1"}))
    before = {path: path.read_bytes() for path in own.glob("*.json")}
    for more in ([], ["--continue"]):
        assert run_command(command(model, folder, *more)) == 2
        said = capsys.readouterr()
        assert f"{name} 0.0.1" in said.err and "give another folder" in said.err
    assert {path: path.read_bytes() for path in own.glob("*.json")} == before


def test_another_target_has_a_folder_of_its_own(
    model: Path, folder: Path, device: Device, capsys: Capture
) -> None:
    own = folder / folder_name(device)
    before = {path: path.read_bytes() for path in own.glob("*.json")}
    words = command(model, folder, "--continue")
    words[words.index("native")] = "x86-64"
    assert run_command(words) == 2
    assert "nothing to continue" in capsys.readouterr().err
    words = [word for word in words if word != "--continue"]
    facts = answer(capsys, *words, "--trials", "1")
    assert facts["measured"] == len(facts["tasks"]) >= 2
    assert {path: path.read_bytes() for path in own.glob("*.json")} == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--continue"], "nothing to continue"),
        (["-t", "x86-64", "--trials", "0"], "--trials"),
    ],
)
def test_wrong_use_is_one_line(
    model: Path, tmp_path: Path, capsys: Capture, more: list[str], message: str
) -> None:
    assert run_command(command(model, tmp_path, *more)) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_killed_tuners_lose_nothing(
    tmp_path: Path,
    device: Device,
    sweep: Callable[[Sequence[int], Sequence[int]], Sequence[int]],
    capsys: Capture,
) -> None:
    """``kill -9`` at random moments; what was on the disk before is there after it."""
    channels = sweep((8, 16, 24), (8, 16, 24, 32, 40, 48, 56))
    long = write(tmp_path / "long.onnx", chain(*channels))
    folder = tmp_path / "r"
    own = folder / folder_name(device)
    moments = random.Random(5)
    for number in sweep(range(3), range(200)):
        known = len(Database(own).read().records)
        run = start(long, folder, "--trials", "100000")
        if number % 4:  # else while it starts, or soon after
            until(lambda run=run, known=known: run.poll() is not None or count(own) > known)
            time.sleep(moments.uniform(0, 0.6))
        else:
            time.sleep(moments.uniform(0, 6))
        seen = Database(own).read().records
        alive = run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=60)
        found = Database(own).read().records
        assert found[: len(seen)] == seen and len(seen) >= known
        assert not any(record.failed for record in found)
        if not alive:  # nothing was left to measure: begin again
            assert run.returncode == 0
            shutil.rmtree(folder)
    answer(capsys, *command(long, folder, "--trials", "1"))
    rows = answer(capsys, *command(long, folder, "--continue", "--trials", "2"))["tasks"]
    wanted = {task.key for task in tasks_of(str(long), device, lowering="bitserial")}
    assert {row["workload"] for row in rows} == wanted and all(row["tuned_us"] for row in rows)
    assert {r.workload for r in Database(own).read().records if len(r.seconds) >= FINAL_ROUNDS} == {
        row["workload"] for row in rows
    }


def count(own: Path) -> int:
    return len(Database(own).read().records)


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_interrupted_tuner_says_how_to_go_on(
    model: Path, tmp_path: Path, device: Device
) -> None:
    own = tmp_path / folder_name(device)
    run = start(model, tmp_path, "--trials", "100000")
    until(lambda: run.poll() is not None or count(own) >= 2)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "--continue" in err and "Traceback" not in err and "internal error" not in err
    records = Database(own).read().records
    assert len(records) >= 2 and not any(record.failed for record in records)


@pytest.mark.slow
def test_two_tuners_on_one_folder(
    model: Path, tmp_path: Path, tasks: list[Task], capsys: Capture
) -> None:
    other = write(tmp_path / "wide.onnx", network(dims=("N", 8, 6, 9)))
    folder = tmp_path / "r"
    runs = [start(m, folder, "--trials", "1") for m in (model, other)]
    said = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("tunes here; waiting" in err for _, err in said) <= 1
    found = answer(capsys, "records", "check", str(folder), "--json")
    assert found["wrong"] == found["not_checked"] == 0
    shown = answer(capsys, "records", "show", str(folder), "--json")["workloads"]
    assert len(shown) == 2 * len(tasks)
    assert {task.key for task in tasks} < {row["workload"] for row in shown}
