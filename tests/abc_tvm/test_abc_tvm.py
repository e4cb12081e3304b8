"""The package's names load what they need when they are first used, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import abc_tvm


def loaded_after(statement: str, *packages: str) -> list[bool]:
    """Whether packages are imported in a fresh interpreter that runs a statement."""
    program = f"{statement}\nimport sys; print(*[p in sys.modules for p in {packages}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [word == "True" for word in done.stdout.split()]


def test_every_name_is_there() -> None:
    for name in abc_tvm.__all__:
        assert getattr(abc_tvm, name) is not None
        assert name in dir(abc_tvm)
    with pytest.raises(AttributeError, match="module 'abc_tvm' has no attribute 'nothing'"):
        _ = abc_tvm.nothing


def test_a_machine_that_runs_artifacts_needs_neither_onnx_nor_llvm() -> None:
    packages = ("tvm", "onnx", "numpy", "torch")
    assert loaded_after("import abc_tvm", *packages) == [False] * 4
    assert loaded_after("import abc_tvm; abc_tvm.load", "tvm", "onnx", "torch") == [False] * 3


def test_the_front_end_does_not_import_tvm() -> None:
    assert loaded_after("import abc_tvm.frontend", "tvm", "onnx") == [False, True]
