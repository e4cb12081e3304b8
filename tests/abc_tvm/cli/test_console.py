"""Tables whole, JSON that any reader takes, and a summary of one line."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abc_tvm.cli import console
from abc_tvm.report import Layer, Report
from tests.abc_tvm.cli.commands import Capture

BITS = Layer("a", "conv2d", [8, 3, 3, 4], 3_000_000, 1, 2, "bitserial", "", 36, 1152)
BYTES = replace(BITS, name="b", macs=1_000_000, lowering="int8", error_bound=0.0)
FLOAT = replace(BITS, name="c", M=None, N=None, lowering="float", reason="real weights")


def test_json_has_no_infinity(capsys: Capture) -> None:
    console.print_json({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (-np.inf, "é")}})
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {"a": None, "b": [1.5, None], "c": {"d": [None, "é"]}}
    with pytest.raises(TypeError):
        console.print_json({"a": object()})


def test_tables_make_way_for_json(capsys: Capture) -> None:
    console.tables(False).print("one")
    console.tables(True).print("two")
    console.errors().print("three")
    assert capsys.readouterr() == ("one\n", "two\nthree\n")


def test_a_table_is_not_cut_and_names_are_printable(capsys: Capture) -> None:
    name = "layer/" + "x" * 100 + "\x1b[31m[bold]"
    console.tables(False).print(
        console.layer_table(Report((replace(BITS, name=name),), "t", "auto"))
    )
    said = capsys.readouterr().out
    assert "x" * 100 + "\\x1b[31m[bold]" in said and "\x1b" not in said
    assert "8x3x3x4" in said and "3.00" in said


def test_what_is_not_recognised_is_a_dash(capsys: Capture) -> None:
    console.tables(False).print(console.layer_table(Report((FLOAT,), "t", "auto")))
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-2].split("│")]
    assert cells[5:7] == ["-", "-"] and "real weights" in cells


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((), "nothing is binarized: every layer is compiled in float (the reasons: inspect)"),
        ((FLOAT,), "nothing is binarized"),
        ((BITS, BYTES), "1 of 2 layers bitserial (75% of the multiply-adds), 1 of 2 layers int8"),
        (
            (BYTES, replace(BYTES, error_bound=0.012)),
            "1 of them rounded, by at most 1.20% of",
        ),
    ],
)
def test_one_line(layers: tuple[Layer, ...], words: str) -> None:
    line = console.summary(Report(layers, "t", "auto"))
    assert words in line and "\n" not in line
    asked = {"checked": 0, "unknown": {"a": "why"}, "wrong": {}}
    with_opinion = console.summary(Report(layers, "t", "auto", asked))
    assert ("no second opinion on 1 of them" in with_opinion) == (layers[:1] not in ((), (FLOAT,)))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 kB"), (999, "1.0 kB"), (99_999, "100.0 kB"), (100_000, "0.10 MB")]
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert console.size(count) == text


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream: Any = Gone()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(BrokenPipeError):
        console.tables(False).print("text")


def test_no_spinner_in_a_file(capsys: Capture) -> None:
    with console.progress("work") as tell:
        tell("stage")
    assert capsys.readouterr() == ("", "")
