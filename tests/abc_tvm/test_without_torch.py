"""The command line does without torch, and a program that wants both still gets both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.abc_tvm.small_networks import network, write

pytest.importorskip("torch", reason="torch is not installed, so nothing would import it")


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tvm_alone_imports_torch() -> None:
    """Else there would be nothing to avoid."""
    assert run("import sys, tvm; print('torch' in sys.modules)") == "True\n"


def test_torch_can_be_imported_afterwards() -> None:
    program = """
import sys
from abc_tvm.without_torch import import_tvm_without_torch
import_tvm_without_torch()
import tvm, tvm_ffi
print("torch" in sys.modules, type(tvm.__loader__).__name__, tvm.__spec__.loader is tvm.__loader__)
import torch
print(tvm_ffi.from_dlpack(torch.arange(3)).shape)
"""
    assert run(program) == "False SourceFileLoader True\n(3,)\n"


def test_torch_that_is_there_stays() -> None:
    program = """
import torch
from abc_tvm.without_torch import import_tvm_without_torch
import_tvm_without_torch()
import sys, tvm
print(sys.modules["torch"] is torch)
"""
    assert run(program) == "True\n"


def test_a_command_does_not_import_torch(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", network())
    files = [str(tmp_path / "m.onnx"), "-o", str(tmp_path / "m.so")]
    program = f"""
import sys
from abc_tvm.cli import main
try:
    main(["compile", "-t", "native", *{files}])
finally:
    print("tvm" in sys.modules, "torch" in sys.modules)
"""
    assert run(program).endswith("True False\n")
