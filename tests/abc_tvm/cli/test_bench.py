"""``abc-tvm bench``: engines in turns, and none that computes something else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from abc_tvm.cli import run_command
from abc_tvm.cli.bench import _tuned
from abc_tvm.engines.onnx_engine import OnnxEngine
from tests.abc_tvm.cli.commands import Capture, answer, refused


def test_bench(small: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    engines = "tvm-float,onnxruntime,onnxruntime-int8"
    command = ["bench", small / "m.onnx", "--against", engines, "--repeat", "3"]
    command += ["--plot", tmp_path / "b.png"]
    facts = answer(capsys, *command, "--float-model", small / "float.onnx")
    assert [r["engine"] for r in facts["results"]] == ["abc-tvm", *engines.split(",")]
    assert all(0 < r["min_ms"] <= r["median_ms"] <= r["p90_ms"] for r in facts["results"])
    assert set(facts["speedup"]) == set(engines.split(","))
    assert facts["straw_man"] is False and facts["refused"] == []
    agreed = {(row["engine"], row["network"]): row["agrees"] for row in facts["agreement"]}
    float_model = {(name, "float model"): True for name in engines.split(",")}
    assert agreed == {("abc-tvm", "model"): True, **float_model}
    assert set(facts["layers"]) == {"abc-tvm", "tvm-float"}
    assert facts["clock"]["spread"] >= 0 and facts["settings"]["repeat"] == 3
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_bench_does_not_time_another_network(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    right = OnnxEngine.run

    def wrong(engine: OnnxEngine, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = right(engine, inputs)
        return {name: array * engine.factor for name, array in outputs.items()}  # type: ignore[attr-defined]

    made = OnnxEngine.__init__

    def make(engine: OnnxEngine, *given: Any, optimise: bool = True, **more: Any) -> None:
        made(engine, *given, optimise=optimise, **more)
        engine.factor = np.float32(1.5 if optimise else 1.0)  # type: ignore[attr-defined]

    monkeypatch.setattr(OnnxEngine, "__init__", make)
    monkeypatch.setattr(OnnxEngine, "run", wrong)
    command = ["bench", str(small / "m.onnx"), "--against", "tvm-float,onnxruntime"]
    capsys.readouterr()
    assert run_command([*command, "--repeat", "2", "--json"]) == 1
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert [r["engine"] for r in facts["results"]] == ["abc-tvm", "tvm-float"]
    assert [r["engine"] for r in facts["refused"]] == ["onnxruntime"]
    assert "onnxruntime is not timed: its outputs of the model are 0.5" in said.err


def test_options_of_this_machine_alone(small: Path, capfd: Capture) -> None:
    for option in (["--per-layer"], ["--records", "r"]):
        command = ["bench", small / "m.onnx", "--rpc", "127.0.0.1:1", *option]
        refused(capfd, command, "--records and --per-layer are for this machine, not --rpc")


def test_engines_that_are_unknown(small: Path, capfd: Capture) -> None:
    refused(capfd, ["bench", small / "m.onnx", "--against", "tensorflow"], "tensorflow")
    remote = ["bench", small / "m.onnx", "--rpc", "127.0.0.1:1", "--against", "torch"]
    refused(capfd, remote, "against: torch does not run on a remote device")


def test_a_float_build_that_was_not_tuned_is_said() -> None:
    outcome: Any = SimpleNamespace(tuned={"abc-tvm": "3 of 4", "tvm-float": 0})
    line = _tuned(outcome)
    assert line.startswith("kernels from tuning records: 3 of 4 of abc-tvm, 0 of tvm-float")
    assert line.endswith("abc-tvm tune --lowering float")
