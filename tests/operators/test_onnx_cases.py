"""The onnx package's operator tests do what ``table.tsv`` says of them.

An eighth of them, chosen by name, runs always, and all under ``--full``. After a change that is
meant, ``python -m tests.operators --update`` rewrites the table, and ``--docs`` the page that is
made of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest

from tests.children import QUICK
from tests.operators import document, table
from tests.operators.judge import REFUSED, RIGHT

ROOT = Path(__file__).resolve().parents[2]
VERSION = "1.23.2"

pinned = pytest.mark.skipif(
    onnx.__version__ != VERSION, reason=f"the table is that of onnx {VERSION}"
)


@pinned
@pytest.mark.slow
def test_every_case_does_what_its_line_says(
    tmp_path: Path, sweep: Callable[[Sequence[int], Sequence[int]], Sequence[int]]
) -> None:
    (share,) = sweep([8], [1])
    out = tmp_path / "found.tsv"
    paths = os.pathsep.join([str(ROOT), QUICK["PYTHONPATH"]])
    run = subprocess.run(
        [sys.executable, "-m", "tests.operators", f"--share={share}", f"--out={out}"],
        cwd=ROOT,
        env={**QUICK, "PYTHONPATH": paths, "TVM_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    found, known = table.read(out), table.read()
    assert len(found) > 1900 / share * 0.8
    differences = [
        f"{name}: {row.status} ({row.reason}), and the table says {known[name].status}"
        for name, row in found.items()
        if name not in known or known[name].status != row.status
    ]
    assert not differences
    if share == 1:
        assert set(found) == set(known)


def test_nothing_in_the_table_is_wrong_and_most_is_right() -> None:
    rows = table.read().values()
    assert {row.status for row in rows} == {RIGHT, REFUSED}
    assert sum(row.plain == "yes" for row in rows) == 1666
    assert sum(row.plain == "yes" and row.status == RIGHT for row in rows) >= 1150
    assert all(row.reason for row in rows if row.status == REFUSED)
    assert len({row.name for row in rows}) == len(list(rows))


@pinned
def test_the_page_is_made_of_the_table() -> None:
    assert document.PATH.read_text(encoding="utf-8") == document.render(table.read())
