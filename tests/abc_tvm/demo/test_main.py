"""The demo's exit code, and that each network is verified before it is timed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table

pytest.importorskip("onnxruntime", reason="needs the extra [bench]")

from abc_tvm.demo import __main__ as demo
from abc_tvm.measure.timing import Times


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is verified and timed; ``passed`` says what comes of it."""
    found: dict[str, Any] = {"passed": [True, True], "trained": True, "order": []}

    def verify(model: Any) -> Any:
        found["order"].append(f"verify {model}")
        return SimpleNamespace(
            passed=found["passed"].pop(0),
            artifact=SimpleNamespace(data=b"x" * 5000),
            report=SimpleNamespace(json=lambda: {"weight_bytes": 1000}),
            flipped_bits=0, checked_bits=2_000_000, relative_error=0.0, argmax_agreement=1.0,
        )  # fmt: skip

    def measure(artifacts: Any, plain: Any, rows: dict[str, Any], tell: Any) -> Any:
        found["order"].append("measure")
        for kind in ("float32", "int8"):
            name = f"onnxruntime, {kind}"
            rows[name] = demo.DemoRow(name, 1, 2, "")
        return {name: Times.of([2.0, 4.0]) for name in rows}

    def trained(tell: Any) -> Any:
        return SimpleNamespace(table=Table("trained"), passed=found["trained"])

    monkeypatch.setattr(demo.demo_trained, "run", trained)
    monkeypatch.setattr(demo.zoo, "build", lambda name, m, n: f"{name} {m} {n}")
    monkeypatch.setattr(demo.zoo, "build_float", lambda name: None)
    monkeypatch.setattr(demo, "verify", verify)
    monkeypatch.setattr(demo, "_measure", measure)
    return found


def test_everything_passes(verified: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main() == 0
    assert verified["order"] == ["verify resnet18 1 1", "verify resnet18 3 3", "measure"]
    said = capsys.readouterr().out
    assert "trained" in said and "M=3 N=3" in said and "passed: 0 of 2.0 M bits" in said
    assert "1.00x" in said and "5.0 kB" in said


@pytest.mark.parametrize(
    ("trained", "passed"), [(False, [True, True]), (True, [False, True]), (True, [True, False])]
)
def test_one_that_does_not_is_exit_code_1(
    verified: dict[str, Any], trained: bool, passed: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    verified |= {"trained": trained, "passed": list(passed)}
    assert demo.main() == 1
    assert ("FAILED" in capsys.readouterr().out) == (not all(passed))
