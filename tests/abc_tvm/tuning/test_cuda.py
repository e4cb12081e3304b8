"""Tuning for a GPU, in emulation: what is measured is right, what is recorded is compiled."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import abc_tvm
from abc_tvm import zoo
from abc_tvm.cli import run_command
from abc_tvm.errors import TargetError
from abc_tvm.records.database import Database, LoweringTimes
from abc_tvm.records.manifest import folder_name
from abc_tvm.records.records import open_records
from abc_tvm.records.task import save_layer
from abc_tvm.schedules.cuda.space import CudaChoice, CudaSpace
from abc_tvm.targets import load
from abc_tvm.tuning import tune
from abc_tvm.tuning.measure import Bench, WrongResult
from abc_tvm.tuning.network import tasks_of
from abc_tvm.tuning.workers.local import LocalRunner
from abc_tvm.tuning.workers.runner import Job, Work
from tests.abc_tvm.small_networks import network, write

EMULATED = "tests.abc_tvm.tuning.emulated_gpu"

pytestmark = pytest.mark.usefixtures("cuda_emulation")


def test_both_units_pass_the_comparison_with_plain_loops() -> None:
    device = load("cuda-sm80")
    task, *_ = tasks_of(network(), device, lowering="bitserial")
    assert isinstance(task.space, CudaSpace)
    bench = Bench(task, device)
    for unit in ("cores", "tensor"):
        tile = next(t for t in task.space.block_tiles() if t.unit == unit)
        assert min(bench.build(CudaChoice(block=tile)).seconds()) > 0
    bench.expected()[0][...] += 1
    with pytest.raises(WrongResult):
        bench.build(task.space.default())


def test_tune_then_compile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABC_EMULATED_ARCH", "80")
    monkeypatch.setattr(tune, "LocalRunner", partial(LocalRunner, worker=EMULATED))
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


@pytest.mark.slow
def test_bits_or_bytes_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both are in doubt, every layer is tuned as both, and compiled as the faster."""
    monkeypatch.setenv("ABC_EMULATED_ARCH", "80")
    monkeypatch.setattr(tune, "LocalRunner", partial(LocalRunner, worker=EMULATED))
    device = load("cuda-sm80")
    model = zoo.build("resnet8", 4, 4, image_size=4, batch=1, grid=True)
    settings = {"trials": 1, "seconds": None, "seed": 0, "threads": 1, "batch": None,
                "lowering": "auto"}  # fmt: skip
    with tune.tuner(model, device, tmp_path, settings, tell=pytest.fail) as tuner:
        tuner.run()
        found = tuner.lowerings()
    assert found and all(times.keys() >= {"bitserial", "int8"} for times in found.values())
    for fast in ("bitserial", "int8"):
        with Database(tmp_path / folder_name(device)) as database:
            for layer, old in list(database.lowerings.items()):
                kinds = {k: (1e-9 if k == fast else s, w) for k, (s, w) in old.kinds.items()}
                database.add_lowering(LoweringTimes(layer, kinds))
        info = abc_tvm.compile(model, device, records=tmp_path).info
        on_bits = [layer["lowering"] == "bitserial" for layer in info.layers]
        assert any(on_bits) == (fast == "bitserial")


def test_an_error_of_a_kernel_ends_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = load("cuda-sm80")
    task, *_ = tasks_of(network(), device, lowering="bitserial")
    assert isinstance(task.default, CudaChoice)
    save_layer(tmp_path, task)
    wide = CudaChoice(block=replace(task.default.block, warps_p=64))  # 2048 threads
    with LocalRunner(Work(tmp_path, device), worker=EMULATED) as runner:
        found = []
        for choice in (wide, task.default):
            runner.submit(Job(task.key, (choice,), 2))
            found += runner.wait()
    assert "ended its process" in found[0].failure
    assert len(found[1].times[0]) == 2


def test_a_gpu_is_tuned_on_its_own_machine(tmp_path: Path) -> None:
    settings = {"rpc": "127.0.0.1:9090", "rpc_tracker": None, "rpc_key": None}
    with (
        pytest.raises(TargetError, match="a GPU is tuned on its own machine"),
        tune.tuner(network(), load("cuda-sm80"), tmp_path, settings, tell=pytest.fail),
    ):
        pass
