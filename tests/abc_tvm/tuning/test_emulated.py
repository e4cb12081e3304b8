"""An emulated Raspberry Pi is tuned through the tracker, and the records serve a compilation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from abc_tvm.cli import run_command
from abc_tvm.records.database import Database
from abc_tvm.records.manifest import folder_name
from abc_tvm.records.records import FINAL_ROUNDS, open_records
from abc_tvm.targets import load
from abc_tvm.tuning.network import tasks_of
from tests.abc_tvm.remote import emulated

pytest.importorskip("tornado", reason="needs TVM's RPC extra: pip install 'apache-tvm[rpc]'")
pytestmark = pytest.mark.slow

TRIALS = 2


def test_a_pi_is_tuned(
    request: pytest.FixtureRequest, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, device = tmp_path / "r", load("rpi4")
    command = ["tune", str(model), "-t", "rpi4", "--lowering", "bitserial", "--json"]
    command += ["--records", str(folder), "--trials", str(TRIALS), "--rpc-timeout", "120"]
    with emulated.pi(request.config.cache, tmp_path) as (address, _, _):
        capsys.readouterr()
        code = run_command([*command, "--rpc-tracker", address.place, "--rpc-key", "pi"])
        said = capsys.readouterr()
    assert code == 0, said.err
    facts = json.loads(said.out)
    # Two convolutions, and the kernel that packs the input's bits.
    assert [row["choices"] for row in facts["tasks"]] == [TRIALS] * 3
    assert all(row["tuned_us"] <= row["default_us"] for row in facts["tasks"])
    records = Database(folder / folder_name(device)).read().records
    assert not any(record.failed for record in records)
    assert all(record.target["mtriple"] == device.triple for record in records)
    assert sum(len(record.seconds) >= FINAL_ROUNDS for record in records) >= 2
    found = open_records(device, folder, lambda _: None)
    for task in tasks_of(str(model), device, lowering="bitserial"):
        choice = found.choice(task.workload.func)
        assert choice is not None and choice.tile in task.space.tiles()
    capsys.readouterr()
    output = ["-o", str(tmp_path / "pi.so"), "--records", str(folder)]
    assert (
        run_command(["compile", str(model), "-t", "rpi4", "--lowering", "bitserial", *output]) == 0
    )
