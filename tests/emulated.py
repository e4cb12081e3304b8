"""Kernels on emulated processors: one program each, without TVM's runtime and without Python.

A PrimFunc is compiled to an object file and linked with ``emulated.c``, which reads its arguments
from files, calls it, and writes them back; qemu's user mode runs it. Debian: ``qemu-user-static``
with ``gcc-aarch64-linux-gnu`` and ``gcc-arm-linux-gnueabihf``. A test skips where one is missing.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from abc_tvm.targets import Device

HARNESS = Path(__file__).with_name("emulated.c")
SECONDS = 120
_EMULATORS = {"aarch64-linux-gnu": "qemu-aarch64", "arm-linux-gnueabihf": "qemu-arm"}
_TYPES = {"f": 2, "i": 0, "u": 1}  # DLPack's codes: kDLFloat, kDLInt, kDLUInt


def call(func: Any, arguments: list[np.ndarray], device: Device) -> list[np.ndarray]:
    """Compile a PrimFunc for ``device``, call it in emulation; all arguments afterwards."""
    emulator, compiler = _tools(device.triple)
    module = tvm.compile(func, device.tvm_target())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kernel, program = folder / "kernel.o", folder / "kernel"
        getattr(module, "mod", module).write_to_file(str(kernel), "o")
        _run([compiler, "-O1", "-static", "-o", program, HARNESS, kernel, "-lm"])
        command: list[object] = [emulator, *_model(device), program]
        for n, array in enumerate(arguments):
            path = folder / f"{n}.bin"
            path.write_bytes(np.ascontiguousarray(array).tobytes())
            dtype = array.dtype
            head = [path, _TYPES[dtype.kind], 8 * dtype.itemsize, array.ndim]
            command += [*head, *array.shape]
        _run(command)
        files = [folder / f"{n}.bin" for n in range(len(arguments))]
        return [
            np.frombuffer(file.read_bytes(), a.dtype).reshape(a.shape)
            for file, a in zip(files, arguments, strict=True)
        ]


def need(triple: str) -> None:
    """Skip the test where programs for ``triple`` cannot be linked or run."""
    _tools(triple)


def _tools(triple: str) -> tuple[str, str]:
    name = _EMULATORS[triple]
    emulator = shutil.which(f"{name}-static") or shutil.which(name)
    if emulator is None:
        pytest.skip(f"needs {name} (Debian: apt install qemu-user-static)")
    compiler = shutil.which(f"{triple}-gcc")
    if compiler is None:
        pytest.skip(f"needs {triple}-gcc (Debian: apt install gcc-{triple})")
    return emulator, compiler


def _model(device: Device) -> list[str]:
    """Emulate the processor itself, so that an instruction that it lacks is an error."""
    if device.triple.startswith("arm-"):
        return ["-cpu", device.cpu]
    known = {"cortex-a53", "cortex-a57", "cortex-a72", "cortex-a76"}
    return ["-cpu", device.cpu if device.cpu in known else "cortex-a53"]


def _run(command: list[Any]) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
