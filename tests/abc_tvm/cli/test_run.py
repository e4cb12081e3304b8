"""``abc-tvm run``: the outputs, the times, and inputs that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from tests.abc_tvm.cli.commands import Capture, answer, refused


def test_run_agrees_with_onnxruntime(small: Path, tmp_path: Path, capsys: Capture) -> None:
    x = np.random.default_rng(1).standard_normal((3, 8, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "in.npz", input=x)
    command = ["run", small / "m.so", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz"]
    facts = answer(capsys, *command, "--threads", "1", "--repeat", "3", "--number", "2")
    assert (facts["repeat"], facts["number"], facts["threads"]) == (3, 2, 1)
    assert 0 < facts["min_ms"] <= facts["median_ms"]
    wanted = ort.InferenceSession(small / "m.onnx").run(None, {"input": x})[0]
    with np.load(tmp_path / "out.npz") as found:
        # Whole multiples of 0.5: exact in any order.
        np.testing.assert_array_equal(found["output"], wanted)


def test_random_inputs_of_a_batch(small: Path, capsys: Capture) -> None:
    facts = answer(capsys, "run", small / "m.so", "--random", "--batch", "3", "--repeat", "1")
    assert facts["inputs"] == {"input": [3, 8, 6, 6]}
    assert facts["outputs"] == {"output": {"shape": [3, 4, 6, 6], "dtype": "float32"}}
    assert facts["device"] is None


def test_one_source_of_inputs(small: Path, capfd: Capture) -> None:
    for options in ([], ["--random", "-i", "x.npz"]):
        refused(capfd, ["run", small / "m.so", *options], "give either -i IN.npz or --random")


def test_an_input_that_does_not_fit_names_its_file(
    small: Path, tmp_path: Path, capfd: Capture
) -> None:
    np.savez(tmp_path / "x.npz", input=np.zeros((1, 8, 6, 7), np.float32))
    command = ["run", small / "m.so", "-i", tmp_path / "x.npz"]
    refused(capfd, [*command], "x.npz: input 'input': shape [1, 8, 6, 7]")
