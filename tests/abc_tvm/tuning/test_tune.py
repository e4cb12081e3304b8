"""Whole runs: the command line, killed tuners, two tuners at once."""

from __future__ import annotations

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
from abc_tvm.targets import Device
from abc_tvm.tuning.database import RECORDS, Database
from abc_tvm.tuning.manifest import FILE, folder_name
from abc_tvm.tuning.records import FINAL_ROUNDS, open_records
from abc_tvm.tuning.task import Task
from tests.abc_tvm.small_networks import chain, network, write

Capture = pytest.CaptureFixture[str]


def command(model: Path, folder: Path, *more: str) -> list[str]:
    lowering = ["--lowering", "bitserial", "--json"]
    return ["tune", str(model), "-t", "native", "--records", str(folder), *lowering, *more]


def start(model: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "abc_tvm", *command(model, folder, *more)]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_ctrl_c)


def _heed_ctrl_c() -> None:
    """A suite that runs in a shell's background ignores Ctrl-C, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def answer(capsys: Capture, *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run_command(list(arguments)) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_tune_continue_show_check_merge_compile(
    model: Path, tmp_path: Path, device: Device, tasks: list[Task], capsys: Capture
) -> None:
    folder = tmp_path / "r"
    facts = answer(capsys, *command(model, folder, "--trials", "4"))
    assert {row["choices"] for row in facts["tasks"]} == {4}
    assert facts["measured"] == 4 * len(tasks) and not facts["interrupted"]
    assert facts["tuned_us"] <= facts["default_us"]

    again = answer(capsys, *command(model, folder, "--continue"))
    assert again["measured"] == 0 and again["settings"]["trials"] == 4
    assert again["tuned_us"] == pytest.approx(facts["tuned_us"])
    more = answer(capsys, *command(model, folder, "--continue", "--trials", "6"))
    assert more["measured"] == 2 * len(tasks)

    shown = answer(capsys, "records", "show", str(folder), "--json")["workloads"]
    assert {row["workload"] for row in shown} == {task.key for task in tasks}
    checked = answer(capsys, "records", "check", str(folder), "--json")
    assert checked["right"] == 6 * len(tasks) and checked["wrong"] == 0

    merged = tmp_path / "merged"
    added = answer(capsys, "records", "merge", str(folder), "-o", str(merged), "--json")["added"]
    assert added == len(Database(folder / folder_name(device)).read().records)
    assert (
        answer(capsys, "records", "merge", str(folder), "-o", str(merged), "--json")["added"] == 0
    )
    assert answer(capsys, "records", "check", str(merged), "--json")["right"] == checked["right"]


def test_compiled_with_records_is_the_same_network(
    model: Path, tmp_path: Path, device: Device, tasks: list[Task], rng: np.random.Generator
) -> None:
    assert run_command(command(model, tmp_path, "--trials", "3")) == 0
    own = tmp_path / folder_name(device)
    text = (own / RECORDS).read_text().splitlines()
    # Keep of each workload only a choice that is not the default, so that it must be used.
    kept = [
        line
        for line, r in zip(text, Database(own).read().records, strict=True)
        if all(r.choice != t.default for t in tasks if t.key == r.workload)
    ]
    (own / RECORDS).write_text("\n".join(kept) + "\n")
    records = open_records(device, tmp_path, lambda _: None)
    assert all(records.choice(t.workload.func) not in (None, t.default) for t in tasks)
    x = {"input": rng.normal(size=(2, 8, 6, 6)).astype(np.float32)}
    found = []
    for folder in (None, tmp_path):
        abc_tvm.compile(str(model), lowering="bitserial", records=folder).save(tmp_path / "o.so")
        found.append(((tmp_path / "o.so").read_bytes(), abc_tvm.load(tmp_path / "o.so").run(x)))
    assert found[0][0] != found[1][0]
    np.testing.assert_array_equal(found[0][1]["output"], found[1][1]["output"])


def test_a_workload_under_a_wrong_hash_fails_the_check(
    model: Path, tmp_path: Path, device: Device, tasks: list[Task], capsys: Capture
) -> None:
    assert run_command(command(model, tmp_path, "--trials", "2")) == 0
    for path in (tmp_path / folder_name(device)).glob("database_*.json"):
        path.write_text(path.read_text().replace(tasks[0].key, "123"))
    capsys.readouterr()
    assert run_command(["records", "check", str(tmp_path), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["wrong"] == 1 and facts["problems"][0]["workload"] == "123"


def test_options_given_again_replace_the_stored_ones(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    answer(capsys, *command(model, tmp_path, "--trials", "2", "--seed", "3"))
    bare = ["tune", str(model), "-t", "native", "--records", str(tmp_path), "--json", "--continue"]
    again = answer(capsys, *bare)
    assert again["measured"] == 0
    assert {"seed": 3, "trials": 2, "lowering": "bitserial"}.items() <= again["settings"].items()
    other = answer(capsys, *bare, "--lowering", "float", "--seed", "4")
    assert {"seed": 4, "trials": 2, "lowering": "float"}.items() <= other["settings"].items()
    assert other["measured"] == 2 * len(other["tasks"])  # other workloads
    assert answer(capsys, *bare)["settings"]["lowering"] == "float"


@pytest.mark.parametrize("name", ["tvm", "abc_tvm"])
def test_records_of_another_version_are_not_continued(
    model: Path, tmp_path: Path, device: Device, capsys: Capture, name: str
) -> None:
    answer(capsys, *command(model, tmp_path, "--trials", "1"))
    own = tmp_path / folder_name(device)
    manifest = json.loads((own / FILE).read_text())
    (own / FILE).write_text(json.dumps(manifest | {name: "0.0.1"}))
    before = {path: path.read_bytes() for path in own.glob("*.json")}
    for more in ([], ["--continue"]):
        assert run_command(command(model, tmp_path, *more)) == 2
        said = capsys.readouterr()
        assert f"{name} 0.0.1" in said.err and "give another folder" in said.err
    assert {path: path.read_bytes() for path in own.glob("*.json")} == before


def test_another_target_has_a_folder_of_its_own(
    model: Path, tmp_path: Path, device: Device, capsys: Capture
) -> None:
    answer(capsys, *command(model, tmp_path, "--trials", "1"))
    own = tmp_path / folder_name(device)
    before = {path: path.read_bytes() for path in own.glob("*.json")}
    words = command(model, tmp_path, "--continue")
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
) -> None:
    """``kill -9`` at random moments; what was on the disk before is there after it."""
    long = write(tmp_path / "long.onnx", chain(8, 16, 24, 32, 40, 48, 56))
    folder = tmp_path / "r"
    own = folder / folder_name(device)
    moments = random.Random(5)
    for number in sweep(range(4), range(200)):
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
    last = start(long, folder, "--trials", "2")
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    last = start(long, folder, "--continue", "--trials", "3")
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    rows = json.loads(out)["tasks"]
    assert len(rows) == 6 and all(row["tuned_us"] for row in rows)
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
    runs = [start(m, folder, "--trials", "4") for m in (model, other)]
    said = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("tunes here; waiting" in err for _, err in said) <= 1
    found = answer(capsys, "records", "check", str(folder), "--json")
    assert found["wrong"] == found["not_checked"] == 0
    shown = answer(capsys, "records", "show", str(folder), "--json")["workloads"]
    assert len(shown) == 2 * len(tasks)
    assert {task.key for task in tasks} < {row["workload"] for row in shown}
