"""A small network, compiled, for all commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from abc_tvm.cli import run_command
from tests.abc_tvm.small_networks import network, write


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ``m.onnx`` and ``float.onnx``, and ``m.so`` compiled from the first."""
    path = tmp_path_factory.mktemp("commands")
    write(path / "m.onnx", network())
    write(path / "float.onnx", network(binary=False))
    arguments = ["compile", str(path / "m.onnx"), "-t", "native", "-o", str(path / "m.so")]
    assert run_command([*arguments, "--lowering", "bitserial"]) == 0
    return path
