"""From CUDA C to a cubin: by NVRTC from the pip package ``nvidia-cuda-nvrtc``, else by nvcc.

Neither needs a GPU. Contraction to fused multiply-adds and fast mathematics stay off, because the
kernels' float32 arithmetic is the graph's own (``docs/contract.md``); reductions ask for ``fma``
by name.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from abc_tvm.deploy.cuda import runtime_library
from abc_tvm.errors import MissingDependencyError, UnsupportedError
from abc_tvm.runtime.cuda_device import loads, pip_libraries
from abc_tvm.scratch import scratch

CALLBACK = "tvm_callback_cuda_compile"
NVRTC = "libnvrtc.so.13"

_EXACT = "--fmad=false"
# What TVM's sources include, of files that NVRTC's package does not carry.
_HEADERS = {
    "math_constants.h": """
#define CUDART_INF_F __int_as_float(0x7f800000)
#define CUDART_NAN_F __int_as_float(0x7fffffff)
""",
    "cuda/std/cstdint": """
namespace cuda { namespace std {
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t; typedef signed char int8_t; typedef short int16_t;
typedef int int32_t; typedef long long int64_t;
} }
""",
    "cuda/std/type_traits": """
namespace cuda { namespace std {
template <class A, class B> struct is_same { static constexpr bool value = false; };
template <class A> struct is_same<A, A> { static constexpr bool value = true; };
template <class A, class B> constexpr bool is_same_v = is_same<A, B>::value;
template <class A> struct is_integral;
template <class A> struct is_signed;
template <class A> struct is_unsigned;
template <class A> struct is_floating_point;
template <bool B, class A = void> struct enable_if {};
template <class A> struct enable_if<true, A> { typedef A type; };
template <bool B, class X, class Y> struct conditional { typedef X type; };
template <class X, class Y> struct conditional<false, X, Y> { typedef Y type; };
} }
""",
}


def compile_source(code: str, arch: str) -> bytes:
    """The cubin of CUDA C for a real architecture ("sm_80").

    Raises:
        MissingDependencyError: There is neither NVRTC nor nvcc, or it failed.
    """
    library = nvrtc()
    if library is not None:
        return _by_nvrtc(library, code, arch)
    program = shutil.which("nvcc")
    if program is None:
        raise MissingDependencyError(
            "target cuda: no compiler for device code: pip install nvidia-cuda-nvrtc (the extra "
            "abc-tvm[cuda]), or put nvcc of a CUDA toolkit on the PATH"
        )
    return by_nvcc(program, code, arch)


@functools.cache
def nvrtc() -> Any:
    """NVRTC, from its pip package or the system; ``None`` where it is missing."""
    # NVRTC looks this one up by name, and the package's folder is not on the loader's path.
    for builtins in pip_libraries("libnvrtc-builtins.so.*"):
        ctypes.CDLL(builtins, ctypes.RTLD_GLOBAL)
    place = next((p for p in (*pip_libraries(NVRTC), NVRTC) if loads(p)), None)
    return None if place is None else ctypes.CDLL(place)


def _by_nvrtc(library: Any, code: str, arch: str) -> bytes:
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    names = (ctypes.c_char_p * len(_HEADERS))(*(name.encode() for name in _HEADERS))
    texts = (ctypes.c_char_p * len(_HEADERS))(*(text.encode() for text in _HEADERS.values()))
    options = [f"--gpu-architecture={arch}", "--std=c++17", _EXACT]
    words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    source = ctypes.c_char_p(code.encode())
    status = library.nvrtcCreateProgram(
        ctypes.byref(program), source, b"kernels.cu", len(_HEADERS), texts, names
    )
    status = status or library.nvrtcCompileProgram(program, len(options), words)
    if status:
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        raise _failed(f"NVRTC for {arch}", log.value)
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    library.nvrtcGetCUBIN(program, cubin)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin.raw


def by_nvcc(program: str, code: str, arch: str) -> bytes:
    """The same by nvcc.

    Raises:
        MissingDependencyError: nvcc failed, and how.
    """
    with scratch() as folder:
        source, cubin = Path(folder, "kernels.cu"), Path(folder, "kernels.cubin")
        source.write_text(code, encoding="utf-8")
        command = [program, "-cubin", f"-arch={arch}", "-O3", "--std=c++17", _EXACT]
        done = subprocess.run(
            [*command, "-o", str(cubin), str(source)], capture_output=True, check=False
        )
        if done.returncode:
            raise _failed(f"nvcc for {arch}", done.stdout + done.stderr)
        return cubin.read_bytes()


def _failed(what: str, log: bytes) -> MissingDependencyError:
    text = " ".join(log.decode(errors="replace").split())
    return MissingDependencyError(f"target cuda: {what} failed: {text[:300]}")


@contextmanager
def compiled_for(arch: str) -> Iterator[None]:
    """Inside, TVM makes modules of device code for ``arch``.

    Raises:
        MissingDependencyError: As :func:`compile_source`, and
            :func:`.runtime_library.load`.
        UnsupportedError: TVM would have stored source instead.
    """
    import tvm
    import tvm_ffi

    runtime_library.load()
    before = tvm_ffi.get_global_func(CALLBACK, allow_missing=True)
    errors: list[MissingDependencyError] = []
    made = 0

    def callback(code: str) -> bytes:
        nonlocal made
        try:
            cubin = compile_source(code, arch)
        except MissingDependencyError as error:  # TVM would add its own traceback to it
            errors.append(error)
            raise
        made += 1
        return cubin

    # Unrolling is left to the device's compiler: written out, a network is megabytes of source.
    unroll = {"tirx.UnrollLoop": {"explicit_unroll": False}}
    tvm_ffi.register_global_func(CALLBACK, callback, override=True)
    try:
        with tvm.transform.PassContext(config=unroll):
            yield
    except MissingDependencyError:
        raise
    except RuntimeError:
        if errors:
            raise errors[0] from None
        raise
    finally:
        # Nothing of ours stays: another compilation for CUDA in this process is not for ``arch``.
        if before is None:
            tvm_ffi.remove_global_func(CALLBACK)
        else:
            tvm_ffi.register_global_func(CALLBACK, before, override=True)
    if not made:
        raise UnsupportedError(f"no device code was made for {arch}")
