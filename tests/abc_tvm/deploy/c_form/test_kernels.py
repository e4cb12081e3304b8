"""Kernels as C functions of plain pointers: they compute, run serially, and need no runtime."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te

from abc_tvm import targets
from abc_tvm.deploy.c_form.kernels import Kernels, compile_kernels
from abc_tvm.errors import UnsupportedError

DEVICE = targets.load("native")
pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="links a library")


def kernel(large: bool = False, parallel: bool = False) -> Any:
    """``y = (x + 1) * 2`` of 2^18 or of 8 floats, by way of a workspace."""
    count = 1 << 18 if large else 8
    x = te.placeholder((count,), name="x")
    half = te.compute((count,), lambda i: x[i] + 1, name="half")
    y = te.compute((count,), lambda i: half[i] * 2, name="y")
    function = te.create_prim_func([x, y])
    if not parallel:
        return function
    schedule = tvm.s_tir.Schedule(function)
    schedule.parallel(schedule.get_loops(schedule.get_sblock("y"))[0])
    return schedule.mod["main"]


def loaded(made: Kernels, folder: Path) -> ctypes.CDLL:
    (folder / "k.o").write_bytes(made.code)
    command = ["cc", "-shared", "-o", str(folder / "k.so"), str(folder / "k.o"), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "k.so"))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("parallel", [False, True])
def test_a_small_kernel(parallel: bool, tmp_path: Path) -> None:
    made = compile_kernels({"k": kernel(parallel=parallel)}, DEVICE, "my_")
    assert made.workspaces == {"k": ()}, "small ones stay on the stack"
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    loaded(made, tmp_path).my_k(pointer(x), pointer(y))
    np.testing.assert_array_equal(y, (x + 1) * 2)
    symbols = subprocess.run(["nm", tmp_path / "k.o"], capture_output=True, text=True, check=True)
    assert "TVM" not in symbols.stdout


def test_a_large_workspace_is_the_callers(tmp_path: Path) -> None:
    made = compile_kernels({"k": kernel(large=True)}, DEVICE, "")
    assert made.workspaces == {"k": (1 << 20,)}
    x = np.arange(1 << 18, dtype=np.float32)
    y, work = np.zeros_like(x), np.zeros_like(x)
    loaded(made, tmp_path).k(pointer(x), pointer(y), pointer(work))
    np.testing.assert_array_equal(y, (x + 1) * 2)
    np.testing.assert_array_equal(work, x + 1)


def test_several_kernels_are_one_object(tmp_path: Path) -> None:
    made = compile_kernels({"a": kernel(), "b": kernel()}, DEVICE, "n_")
    library = loaded(made, tmp_path)
    assert library.n_a and library.n_b and set(made.workspaces) == {"a", "b"}


def test_a_function_of_the_runtime_is_refused() -> None:
    x = te.placeholder((4,), name="x")
    y = te.extern(
        (4,), [x], lambda ins, outs: tvm.tirx.call_packed("some.sort", ins[0], outs[0]), name="y"
    )
    with pytest.raises(UnsupportedError, match=r"function some\.sort"):
        compile_kernels({"k": te.create_prim_func([x, y])}, DEVICE, "")
