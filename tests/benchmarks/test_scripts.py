"""Every script of ``benchmarks/`` starts: what it imports is there, and it says what it is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(
    path.name for path in FOLDER.glob("[!_]*.py") if "__main__" in path.read_text(encoding="utf-8")
)


def test_there_are_scripts() -> None:
    assert {"kernels.py", "networks.py", "tuning.py", "fleet.py", "cuda.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name: str) -> None:
    command = [sys.executable, str(FOLDER / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 1 and "No module named 'torch'" in done.stderr:
        pytest.skip("needs torch")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
