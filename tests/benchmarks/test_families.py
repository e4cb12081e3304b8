"""The benchmark of families: what it counts, and what it does not time."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import abc_tvm
from abc_tvm import zoo

pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import families

    return families


def run_with(script: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["families.py", *arguments])
    script.run(script.main)


def test_a_family(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["irnet20", "--size", "16", "--width", "0.5", "--quick", "--json"]
    run_with(script, monkeypatch, *arguments, "--out", str(tmp_path))
    written = json.loads((tmp_path / "families.json").read_text())
    assert json.loads(capsys.readouterr().out) == written
    (row,) = written["results"]
    assert row["family"] == "irnet20" and row["input"] == [3, 16, 16]
    assert row["should_be_low"] == row["are_low"] == 18 and row["left_in_float"] == {}
    assert row["bitserial_layers"] + row["int8_layers"] == 18 and row["float_layers"] == 2
    assert set(row["other_float_layers"]) == {"/conv1/Conv", "/linear/Gemm"}
    assert all(row["other_float_layers"].values())  # each has its reason
    assert row["passed"] and row["same_class"] == 8 and row["largest_error"] < 1e-5
    assert row["onnxruntime_itself"]["same_class"] == 8
    assert (
        row["weight_bytes"] < row["float_weight_bytes"] and row["weight_bytes"] < row["file_bytes"]
    )
    assert set(row["times"]) == {"abc-tvm", "onnxruntime", "float network"}
    for name, ratio in row["speedup"].items():
        least = row["times"][name]["min_ms"] / row["times"]["abc-tvm"]["min_ms"]
        assert ratio == pytest.approx(least)
    assert written["settings"]["size"] == 16 and written["settings"]["width"] == 0.5
    assert (tmp_path / "families.png").exists()


def test_layers_that_should_be_low_and_are_not(script: Any) -> None:
    model = zoo.build("tcresnet8", image_size=16, batch=1)
    artifact = abc_tvm.compile(model, lowering="float")
    layers = dict(enumerate(artifact.info.layers))
    del layers[3]
    hidden = replace(artifact, info=replace(artifact.info, layers=list(layers.values())))
    found = script._layers(model, hidden)
    assert found["should_be_low"] == 9 and found["are_low"] == 0
    reasons = list(found["left_in_float"].values())
    assert len(reasons) == 9 and reasons.count(script.NO_ROW) == 1
    assert set(found["other_float_layers"]) == {"/conv0/Conv", "/fc/Gemm"}


def test_classes_of_images(script: Any) -> None:
    wanted = np.array([[0.0, 4.0, 1.0]])
    same, other = wanted + 0.5, wanted[:, ::-1] + [[5.0, 0, 0]]
    found = script._agreement([same, other], [wanted, wanted])
    assert found["same_class"] == 1 and found["largest_error"] == pytest.approx(6 / 4)
    area = np.stack([wanted, wanted], axis=2)
    one = area.copy()
    one[0, 0, 1] = 9.0
    assert script._agreement([one], [area])["same_class"] == 0
    assert script._agreement([area], [area]) == {"same_class": 1, "largest_error": 0}


def test_what_is_not_equal_is_not_timed(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    verify = script.verify
    monkeypatch.setattr(
        script,
        "verify",
        lambda *args, **options: replace(verify(*args, **options), passed=False, faults=("off",)),
    )
    row = script._measure("tcresnet8", 16, 1.0, 2)
    assert not row["passed"] and row["times"] == {} == row["speedup"]
    assert script._line(row) == "tcresnet8: 9 of 9 low, not timed: off"


def test_an_unknown_family_is_one_line(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_with(script, monkeypatch, "vgg", "irnet20", "--out", str(tmp_path))
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "no family vgg; choose from quicknet-small" in message and "Traceback" not in message
