"""Tuning for a GPU, in emulation: what is measured is right, what is recorded is compiled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm.cli import run_command
from abc_tvm.schedules.cuda.space import CudaChoice
from abc_tvm.targets import load
from abc_tvm.tuning.manifest import folder_name
from abc_tvm.tuning.measure import Bench, WrongResult
from abc_tvm.tuning.records import open_records
from abc_tvm.tuning.task import tasks_of
from tests.abc_tvm.small_networks import network, write

pytestmark = pytest.mark.usefixtures("cuda_emulation")


def test_both_units_pass_the_comparison_with_plain_loops() -> None:
    device = load("cuda-sm80")
    task, *_ = tasks_of(network(), device, lowering="bitserial")
    bench = Bench(task, device)
    for unit in ("cores", "tensor"):
        tile = next(t for t in task.space.tiles() if t.unit == unit)
        assert bench.build(CudaChoice(block=tile)).round() > 0
    bench.expected()[0][...] += 1
    with pytest.raises(WrongResult):
        bench.build(task.space.default())


def test_tune_then_compile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABC_EMULATED_ARCH", "80")
    model, folder = write(tmp_path / "m.onnx", network()), tmp_path / "r"
    common = [str(model), "-t", "cuda-sm80", "--lowering", "bitserial", "--records", str(folder)]
    assert run_command(["tune", *common, "--trials", "3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {row["choices"] for row in facts["tasks"]} == {3}
    device = load("cuda-sm80")
    assert (folder / folder_name(device)).is_dir()
    assert folder_name(device) != folder_name(load("cuda-sm90"))
    task, *_ = tasks_of(network(), device, lowering="bitserial")
    records = open_records(device, folder, pytest.fail)
    assert records is not None
    assert isinstance(records.choice(task.workload.func), CudaChoice)
    out = tmp_path / "m.so"
    assert run_command(["compile", *common, "-o", str(out)]) == 0
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)
    plain = tmp_path / "plain.so"
    abc_tvm.compile(model, "native", lowering="bitserial").save(plain)
    found, wanted = (abc_tvm.load(p).run(x)["output"] for p in (out, plain))
    np.testing.assert_array_equal(found, wanted)
