"""The loops for Raspberry Pis stay within their marks of what the cores can do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "arm_static.py"


@pytest.mark.slow
def test_every_loop_is_within_its_mark(tmp_path: Path) -> None:
    if shutil.which("llvm-mca-22") is None:
        pytest.skip("needs llvm-mca-22 (Debian: apt install llvm-22)")
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--json", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    records = json.loads(out.read_text())["results"]
    assert len(records) == 16
    for record in records:
        assert record["spills"] == 0
        assert 1 <= record["of_bound"] < 1.3
        # Nothing may be gained by leaving work out: three instructions for 128 products.
        assert record["instructions_per_mac"] > 3 / 128
