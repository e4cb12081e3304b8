"""TVM's CUDA runtime, on machines without NVIDIA's driver too.

TVM makes a module of device code only where its CUDA runtime is loaded, and that needs
``libcuda.so.1`` and ``libcudart.so.13``. Without them it stores CUDA source, silently. So where one is
missing a stand-in with the same symbols is built, whose every function says that there is no device:
enough to compile, not to run.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import platform
import tempfile
from pathlib import Path

from abc_tvm.deploy import toolchain
from abc_tvm.errors import TargetError

DRIVER, RUNTIME = "libcuda.so.1", "libcudart.so.13"
_NO_DEVICE = 100  # CUDA Runtime API: cudaErrorNoDevice; the driver's CUDA_ERROR_NO_DEVICE is equal

# What libtvm_runtime_cuda.so of TVM 0.27 asks of each.
_SYMBOLS = {
    DRIVER: """cuDeviceGetName cuFuncSetAttribute cuGetErrorName cuGetErrorString cuLaunchKernelEx
        cuModuleGetFunction cuModuleLoadData cuModuleUnload cuTensorMapEncodeTiled""",
    RUNTIME: """cudaDeviceGetAttribute cudaEventCreate cudaEventDestroy cudaEventElapsedTime
        cudaEventRecord cudaEventSynchronize cudaFree cudaFreeHost cudaGetDevice cudaGetDeviceCount
        cudaGetDeviceProperties cudaGetLastError cudaGraphDestroy cudaGraphExecDestroy
        cudaGraphInstantiate cudaGraphLaunch cudaMalloc cudaMallocHost cudaMemGetInfo
        cudaMemcpyAsync cudaMemcpyPeerAsync cudaPeekAtLastError cudaSetDevice
        cudaStreamBeginCapture cudaStreamCreate cudaStreamCreateWithFlags cudaStreamDestroy
        cudaStreamEndCapture cudaStreamSynchronize cudaStreamWaitEvent""",
}
_TEXTS = {DRIVER: "", RUNTIME: "cudaGetErrorName cudaGetErrorString"}


def is_loaded() -> bool:
    """Whether this process can make modules of device code."""
    import tvm_ffi

    return tvm_ffi.get_global_func("ffi.Module.create.cuda", allow_missing=True) is not None


@functools.cache
def load() -> None:
    """Load TVM's CUDA runtime, with stand-ins for what is missing.

    Raises:
        MissingDependencyError: There is no C compiler to build the stand-ins with.
        TargetError: The installed TVM has no CUDA runtime.
    """
    import tvm

    if is_loaded():
        return
    library = Path(tvm.base._LOADED_LIBS["tvm_runtime"]._name).with_name("libtvm_runtime_cuda.so")
    with tempfile.TemporaryDirectory(prefix="abc-tvm-") as folder:
        for name in (DRIVER, RUNTIME):
            if not any(_loads(place) for place in (name, *pip_libraries(name))):
                ctypes.CDLL(str(_stand_in(name, Path(folder))), ctypes.RTLD_GLOBAL)
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            raise TargetError(
                f"{library}: TVM's CUDA runtime cannot be loaded ({error}); install apache-tvm "
                "with CUDA"
            ) from error


def pip_libraries(name: str) -> list[str]:
    """Paths of a library of NVIDIA's pip packages, where they are installed."""
    found = importlib.util.find_spec("nvidia")
    places = found.submodule_search_locations if found is not None else None
    return [str(path) for place in places or () for path in Path(place).glob(f"*/lib/{name}")]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _stand_in(name: str, folder: Path) -> Path:
    """A library of that name whose functions all refuse."""
    lines = [f"int {symbol}() {{ return {_NO_DEVICE}; }}" for symbol in _SYMBOLS[name].split()]
    lines += [
        f'const char* {symbol}() {{ return "there is no CUDA device"; }}'
        for symbol in _TEXTS[name].split()
    ]
    source, path = folder / "none.c", folder / name
    source.write_text("\n".join(lines), encoding="utf-8")
    options = ["-shared", "-fPIC", f"-Wl,-soname,{name}"]
    if name == RUNTIME:  # TVM asks for its symbols by version
        versions = folder / "versions"
        versions.write_text(f"{name} {{ global: *; }};", encoding="utf-8")
        options.append(f"-Wl,--version-script={versions}")
    toolchain.for_library(f"{platform.machine()}-linux-gnu", "cuda").run(
        *options, "-o", path, source
    )
    return path
