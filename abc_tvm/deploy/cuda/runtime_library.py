"""TVM's CUDA runtime, on machines without NVIDIA's driver too.

TVM makes a module of device code only where its CUDA runtime is loaded, and that needs
``libcuda.so.1`` and ``libcudart.so.13``. Without them it stores CUDA source, silently. So where one
is missing a stand-in with the same symbols is built, whose every function says that there is no
device: enough to compile, not to run.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from pathlib import Path

from abc_tvm.deploy import toolchain
from abc_tvm.errors import TargetError
from abc_tvm.runtime.cuda_device import RUNTIME, is_loaded, loads, pip_libraries, runtime_of_tvm
from abc_tvm.scratch import scratch

DRIVER = "libcuda.so.1"
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


@functools.cache
def load() -> None:
    """Load TVM's CUDA runtime, with stand-ins for what is missing.

    Raises:
        MissingDependencyError: There is no C compiler to build the stand-ins with.
        TargetError: The installed TVM has no CUDA runtime.
    """
    if is_loaded():
        return
    library = runtime_of_tvm()
    with scratch() as folder:
        for name in (DRIVER, RUNTIME):
            if not any(loads(place) for place in (name, *pip_libraries(name))):
                ctypes.CDLL(str(_stand_in(name, Path(folder))), ctypes.RTLD_GLOBAL)
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise TargetError(
                f"{library}: TVM's CUDA runtime cannot be loaded ({error}); install apache-tvm "
                "with CUDA"
            ) from error


def _stand_in(name: str, folder: Path) -> Path:
    """A library of that name whose functions all refuse."""
    lines = [f"int {symbol}() {{ return {_NO_DEVICE}; }}" for symbol in _SYMBOLS[name].split()]
    lines += [
        f'const char* {symbol}() {{ return "there is no CUDA device"; }}'
        for symbol in _TEXTS[name].split()
    ]
    source, path = folder / "none.c", folder / name
    source.write_text("\n".join(lines), encoding="utf-8")
    options = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-x", "c"]
    if name == RUNTIME:  # TVM asks for its symbols by version
        versions = folder / "versions"
        versions.write_text(f"{name} {{ global: *; }};", encoding="utf-8")
        options.append(f"-Wl,--version-script={versions}")
    toolchain.for_library(f"{platform.machine()}-linux-gnu", "cuda").run(
        *options, source, "-o", path
    )
    return path
