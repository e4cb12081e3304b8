"""Every command on a small network: what lands on stdout, in files, and in the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from abc_tvm.cli import run_command
from abc_tvm.engines.onnx_engine import OnnxEngine
from tests.abc_tvm.small_networks import network, write

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``m.onnx`` and ``float.onnx``, and ``m.so`` compiled from the first."""
    path = tmp_path_factory.mktemp("commands")
    write(path / "m.onnx", network())
    write(path / "float.onnx", network(binary=False))
    arguments = ["compile", str(path / "m.onnx"), "-t", "native", "-o", str(path / "m.so")]
    assert run_command([*arguments, "--lowering", "bitserial"]) == 0
    return path


def answer(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    """The JSON object on stdout of a command that succeeds."""
    capsys.readouterr()
    assert run_command([*map(str, arguments), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_inspect(folder: Path, capsys: Capture) -> None:
    facts = answer(capsys, "inspect", folder / "m.onnx", "--lowering", "bitserial")
    first, second = facts["layers"]
    assert (first["name"], second["name"]) == ("block/conv1", "block/conv2")
    assert {"name", "op", "shape", "macs", "M", "N", "lowering", "reason"} <= set(first)
    assert (first["M"], first["N"], first["lowering"]) == (1, 1, "bitserial")
    assert first["macs"] == 6 * 6 * 16 * 8 * 9


def test_inspect_with_rounding(tmp_path: Path, capsys: Capture) -> None:
    """On a device with dot products, nine pairs of planes whose scales are no multiples."""
    model = tmp_path / "lenet.onnx"
    assert run_command(["zoo", "lenet", "-M", "5", "-N", "5", "-o", str(model)]) == 0
    command = ["inspect", model, "-t", "icelake-server"]
    plain = answer(capsys, *command)
    assert plain["int8_layers"] == 0
    assert any("--allow-int8" in row["reason"] for row in plain["layers"])
    allowed = answer(capsys, *command, "--allow-int8")
    bounds = [row["error_bound"] for row in allowed["layers"] if row["lowering"] == "int8"]
    assert allowed["int8_layers"] == len(bounds) > 0 and all(0 < e <= 0.02 for e in bounds)
    strict = answer(capsys, *command, "--int8-error", str(min(bounds) / 2))
    assert strict["int8_layers"] == 0
    assert any("more than the" in row["reason"] for row in strict["layers"])


def test_compile_json_dump_and_nothing_else_left(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, dump = tmp_path / "o.so", tmp_path / "dump"
    command = ["compile", folder / "m.onnx", "-t", "native", "-o", out, "--debug-dump", dump]
    facts = answer(capsys, *command)
    assert facts["bytes"] == out.stat().st_size
    assert {path.name for path in tmp_path.iterdir()} == {"o.so", "dump"}
    assert (dump / "00_canonicalise.py").stat().st_size > 0


def test_compile_to_c(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "c"
    command = ["compile", folder / "m.onnx", "-t", "native", "--format", "c", "-o", out]
    facts = answer(capsys, *command)
    names = {"m.h", "m.c", "m_example.c", "libm.a"}
    assert {path.name for path in out.iterdir()} == names == set(facts["files"])
    assert facts["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    header = (out / "m.h").read_text()
    assert f"#define M_ARENA_BYTES {facts['arena_bytes']} " in header
    assert f"#define M_WEIGHTS_BYTES {facts['constant_bytes']} " in header
    assert facts["layers"]
    answer(capsys, *command, "--name", "my net")
    assert (out / "my_net.c").is_file()


def test_a_float_network_compiles_and_says_so(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ["compile", str(folder / "float.onnx"), "-t", "native", "-o"]
    assert run_command([*arguments, str(tmp_path / "f.so")]) == 0
    assert "nothing is binarized" in capsys.readouterr().out


def test_tuning_a_float_network_says_so(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    model, records = str(folder / "float.onnx"), str(tmp_path / "r")
    tune = ["tune", model, "-t", "native", "--records", records, "--trials", "1"]
    assert run_command(tune) == 0
    assert "nothing is binarized: what was tuned runs in float" in capsys.readouterr().out


def test_run_agrees_with_onnxruntime(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    x = np.random.default_rng(1).standard_normal((3, 8, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "in.npz", input=x)
    command = ["run", folder / "m.so", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz"]
    facts = answer(capsys, *command, "--threads", "1", "--repeat", "3", "--number", "2")
    assert (facts["repeat"], facts["number"], facts["threads"]) == (3, 2, 1)
    assert 0 < facts["min_ms"] <= facts["median_ms"]
    wanted = ort.InferenceSession(folder / "m.onnx").run(None, {"input": x})[0]
    with np.load(tmp_path / "out.npz") as found:
        # Whole multiples of 0.5: exact in any order.
        np.testing.assert_array_equal(found["output"], wanted)


def test_verify(folder: Path, capsys: Capture) -> None:
    model = folder / "m.onnx"
    facts = answer(capsys, "verify", model, "--per-layer", "--lowering", "bitserial")
    assert facts["passed"] is True
    assert facts["flipped_bits"] == 0
    # Two planes each: Sign has a third level, 0, which both inputs can reach.
    assert facts["checked_bits"] == 4 * 6 * 6 * 2 * (8 + 16)
    assert facts["argmax_agreement"] == 1.0
    assert facts["criterion"]


def test_bench(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    engines = "tvm-float,onnxruntime,onnxruntime-int8"
    command = ["bench", folder / "m.onnx", "--against", engines, "--repeat", "3"]
    command += ["--plot", tmp_path / "b.png"]
    facts = answer(capsys, *command, "--float-model", folder / "float.onnx")
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
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
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
    command = ["bench", str(folder / "m.onnx"), "--against", "tvm-float,onnxruntime"]
    capsys.readouterr()
    assert run_command([*command, "--repeat", "2", "--json"]) == 1
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert [r["engine"] for r in facts["results"]] == ["abc-tvm", "tvm-float"]
    assert [r["engine"] for r in facts["refused"]] == ["onnxruntime"]
    assert "onnxruntime is not timed: its outputs of the model are 0.5" in said.err


def test_profile(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    command = ["profile", folder / "m.onnx", "--lowering", "bitserial", "--repeat", "3"]
    facts = answer(capsys, *command, "--plot", tmp_path / "p.png")
    layers = [row for row in facts["layers"] if row["macs"]]
    assert [row["name"] for row in layers] == ["block/conv1", "block/conv2"]
    for row in layers:
        assert row["kind"] == "bitserial" and row["lowering"] == "bitserial"
        assert row["gmacs"] == pytest.approx(row["macs"] / row["median_us"] / 1e3)
        assert row["macs_per_byte"] == row["macs"] / row["bytes"]
    total = sum(row["median_us"] for row in facts["layers"]) / 1e3
    assert facts["kernels_ms"] == pytest.approx(total)
    assert facts["rest_ms"] == pytest.approx(facts["run"]["median_ms"] - total)
    assert {"machine", "date", "versions", "peaks", "threads"} <= set(facts)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert run_command([str(word) for word in command]) == 0
    shown = capsys.readouterr().out
    assert "rest: virtual machine" in shown and "measured on this machine" in shown


def test_zoo_and_targets(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "z.onnx"
    assert run_command(["zoo", "lenet", "-M", "2", "-N", "1", "-o", str(out)]) == 0
    assert out.stat().st_size > 0
    listed = answer(capsys, "targets")["targets"]
    assert {"native", "zen4"} <= {row["name"] for row in listed}
