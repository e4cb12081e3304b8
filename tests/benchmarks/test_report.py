"""The files of a benchmark name what, where, when and how it was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from abc_tvm.errors import MissingDependencyError, UserError

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import _report

    return _report


def test_results(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", ["x.py", "--quick", "--out", str(tmp_path / "new")])
    report = module.BenchmarkReport("x", "What it does.\n\nMore.")
    drawn = module.figure(2, 2)
    drawn.subplots().plot([1, 2])
    report.write([{"a": 1}], drawn, threads=2)
    found = json.loads((tmp_path / "new" / "x.json").read_text())
    assert found["results"] == [{"a": 1}] and found["threads"] == 2
    assert found["command"] == "python benchmarks/x.py --quick"
    assert {"machine", "date", "versions"} <= set(found)
    assert (tmp_path / "new" / "x.png").read_bytes().startswith(b"\x89PNG")


def test_arguments_of_its_own(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def add(parser: Any) -> None:
        parser.add_argument("names", nargs="*")
        parser.add_argument("--json", action="store_true")

    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", ["x.py", "a", "b", "--json", "--out", str(tmp_path)])
    report = module.BenchmarkReport("x", "What it does.", add)
    assert report.arguments.names == ["a", "b"] and not report.quick
    report.write([1], settings={"names": report.arguments.names})
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "x.json").read_text())
    assert printed["results"] == [1] and printed["settings"] == {"names": ["a", "b"]}


def test_nothing_is_measured_that_cannot_be_drawn(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["x.py", "--out", str(tmp_path)])
    with pytest.raises(MissingDependencyError, match=r"matplotlib .* 'abc-tvm\[bench\]'"):
        module.BenchmarkReport("x", "What it does.")


def test_a_users_error_is_one_line(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise UserError("no such engine")

    with pytest.raises(SystemExit) as ended:
        module.run(fails)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(": no such engine\n")
