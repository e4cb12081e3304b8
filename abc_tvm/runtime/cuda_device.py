"""The CUDA device that an artifact runs on, looked at before any of its code is loaded."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any

from abc_tvm.errors import TargetError
from abc_tvm.targets import driver

RUNTIME = "libcudart.so.13"
"""What TVM's CUDA runtime needs besides the driver."""


def is_loaded() -> bool:
    """Whether TVM's CUDA runtime is in this process."""
    import tvm  # noqa: F401  (which loads it where it can)
    import tvm_ffi

    return tvm_ffi.get_global_func("ffi.Module.create.cuda", allow_missing=True) is not None


def pip_libraries(name: str) -> list[str]:
    """Paths of a library of NVIDIA's pip packages, where they are installed."""
    package = importlib.util.find_spec("nvidia")
    places = package.submodule_search_locations if package is not None else None
    return [str(path) for place in places or () for path in Path(place).glob(f"*/lib/{name}")]


def loads(name: str) -> bool:
    """Load a library for all that come later; whether that worked."""
    try:
        ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def runtime_of_tvm() -> str:
    """Path of TVM's CUDA runtime."""
    import tvm

    return str(Path(tvm.base._LOADED_LIBS["tvm_runtime"]._name).with_name("libtvm_runtime_cuda.so"))


def open_device(path: str, arch: str) -> Any:
    """TVM's handle of the first CUDA device, for code of that architecture.

    Raises:
        TargetError: There is no device, another kind of device, or no CUDA runtime.
    """
    try:
        major, minor, _, name = driver.capability()
    except TargetError as error:
        reason = str(error).partition(": name the architecture")[0].removeprefix("target cuda: ")
        raise TargetError(
            f"{path}: compiled for a GPU ({arch}): {reason}; run it on a machine with one, or "
            "compile it for this one (abc-tvm compile -t native)"
        ) from None
    if not driver.runs(arch):
        raise TargetError(
            f"{path}: compiled for {arch}, and {name} is sm_{major}{minor}; compile it with "
            "-t cuda on this machine"
        )
    import tvm

    if not is_loaded():
        loaded = any(loads(place) for place in (RUNTIME, *pip_libraries(RUNTIME)))
        if not loaded or not loads(runtime_of_tvm()):
            raise TargetError(
                f"{path}: needs the CUDA runtime {RUNTIME}: pip install nvidia-cuda-runtime, or a "
                "CUDA 13 toolkit on the loader's path"
            )
    device = tvm.cuda(0)
    if not device.exist:
        raise TargetError(f"{path}: the driver knows {name}, and the CUDA runtime does not open it")
    return device
