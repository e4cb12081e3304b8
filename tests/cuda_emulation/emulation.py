"""CUDA on the processor: the very source that the compiler writes, compiled by g++ and run.

``driver.cpp`` stands in for NVIDIA's driver and runtime, ``include/cuda.h`` for the language, so
that TVM's own CUDA runtime loads, allocates, copies and launches as on a GPU. What is checked:
every index, guard, barrier, asynchronous copy, shuffle and fragment. What is not: timing, and the
instructions that nvcc makes.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abc_tvm.runtime import cuda_device

HERE = Path(__file__).parent
_FLAGS = ["-std=c++17", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-ffp-contract=off", "-w"]
_LIBRARIES = {"libcuda.so.1": [], "libcudart.so.13": ["-Wl,--version-script=versions.map"]}


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="abc-cuda-emulation-"))


@functools.cache
def load() -> None:
    """Load the emulated driver and TVM's CUDA runtime into this process; skips without g++."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++ (Debian: apt install g++)")
    if cuda_device.is_loaded():
        pytest.skip("this machine has NVIDIA's driver: pytest -m gpu runs on its GPU instead")
    for name, flags in _LIBRARIES.items():
        path = _folder() / name
        command = ["g++", "-O2", *_FLAGS, f"-Wl,-soname,{name}", *flags, "driver.cpp", "-ldl"]
        subprocess.run([*command, "-o", str(path)], check=True, cwd=HERE)
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    from abc_tvm.deploy.cuda import runtime_library

    runtime_library.load()


def count(what: str) -> int:
    """Of kernels (``launches``) and graphs (``replays``) that ran, or ``executables`` there are."""
    return int(getattr(ctypes.CDLL("libcuda.so.1"), f"abc_{what}")())


def runtime() -> Any:
    """The emulated ``libcudart``."""
    load()
    return ctypes.CDLL(cuda_device.RUNTIME)


def compile_source(code: str, arch: str) -> bytes:
    """What stands for a cubin: the path of the kernels as a shared library."""
    launchers = [
        f'extern "C" void abc_launch_{name}(void** p) {{ {name}({_arguments(parameters)}); }}\n'
        f'extern "C" size_t abc_sizes_{name}[] = {{ {_sizes(parameters)} }};'
        for name, parameters in re.findall(
            r'extern "C" __global__ void[^;{]*?(\w+)\(([^()]*)\);', code
        )
    ]
    source = code + "\n".join(launchers)
    digest = hashlib.sha256(source.encode()).hexdigest()[:24]
    library = _folder() / f"{digest}.so"
    if not library.exists():
        text = library.with_suffix(".cpp")
        text.write_text(source, encoding="utf-8")
        command = ["g++", "-O1", *_FLAGS, f"-I{HERE / 'include'}", str(text), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
    return f"ABC-EMULATED\n{library}\0".encode()


def _types(parameters: str) -> list[str]:
    return [re.sub(r"__restrict__|\b\w+$", "", p.strip()) for p in parameters.split(",")]


def _arguments(parameters: str) -> str:
    return ", ".join(f"*({kind}*)p[{n}]" for n, kind in enumerate(_types(parameters)))


def _sizes(parameters: str) -> str:
    return ", ".join([*(f"sizeof({kind})" for kind in _types(parameters)), "0"])


def call(func: Any, arguments: list[np.ndarray], target: Any) -> list[np.ndarray]:
    """Compile a scheduled PrimFunc, run it on the emulated device; all arguments afterwards."""
    import tvm

    module = tvm.compile(func, target)
    tensors = [tvm.runtime.tensor(array, tvm.cuda()) for array in arguments]
    module.jit()["main"](*tensors)
    return [tensor.numpy() for tensor in tensors]
