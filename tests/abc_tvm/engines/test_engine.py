"""Engines are made, run once, and taken or refused; ours is never refused quietly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs the extra [bench]")

from abc_tvm.engines import engine as module
from abc_tvm.engines.agreement import MODEL
from abc_tvm.engines.engine import FLOAT, FLOAT_MODEL, INT8, OPPONENTS, OURS, Engines, Refusal
from abc_tvm.errors import UnsupportedError
from tests.abc_tvm.small_networks import network


def engines(folder: Path, plain: bool = False) -> Engines:
    twin = network(binary=False) if plain else None
    told: list[str] = []
    return Engines(network(), twin, "native", 1, 1, "bitserial", None, None, folder, told.append)


def test_who_runs_which_network(tmp_path: Path) -> None:
    alone, beside = engines(tmp_path), engines(tmp_path, plain=True)
    assert {alone.network(name) for name in (OURS, *OPPONENTS)} == {MODEL}
    assert beside.network(OURS) == MODEL
    assert {beside.network(name) for name in OPPONENTS} == {FLOAT_MODEL}


def test_engines_that_agree_are_taken(tmp_path: Path) -> None:
    made = engines(tmp_path)
    for name in (OURS, FLOAT, "onnxruntime"):
        made.add(name)
    assert list(made.calls) == [OURS, FLOAT, "onnxruntime"] and made.refused == []
    assert set(made.plans) == {OURS, FLOAT}
    outputs = [call()["output"] for call in made.calls.values()]
    for found in outputs[1:]:
        np.testing.assert_array_equal(found, outputs[0])  # sums of halves are exact
    assert made.records_settings() is None


def test_an_engine_that_disagrees_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engines(tmp_path)
    made.add(OURS)
    right = made._make

    def wrong(name: str) -> Any:
        call = right(name)
        return lambda: {key: value + 1 for key, value in call().items()}

    monkeypatch.setattr(made, "_make", wrong)
    made.add("onnxruntime")
    assert list(made.calls) == [OURS]
    (refusal,) = made.refused
    assert (refusal.engine, refusal.network) == ("onnxruntime", MODEL)
    assert "onnxruntime is not timed: " in refusal.reason
    assert refusal.json() == {
        "engine": "onnxruntime", "network": MODEL, "reason": refusal.reason,
    }  # fmt: skip


def test_an_engine_that_cannot_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise UnsupportedError("too odd")

    made = engines(tmp_path)
    made.add(OURS)
    monkeypatch.setattr(module, "quantise", fail)
    made.add(INT8)
    assert made.refused == [Refusal(INT8, MODEL, f"{INT8} is not timed: too odd")]
    monkeypatch.setattr(made, "_make", fail)
    with pytest.raises(UnsupportedError, match="too odd"):
        made.add(OURS)
