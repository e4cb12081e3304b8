"""NVIDIA's driver on this machine, asked through its C library.

So neither TVM's CUDA runtime nor a toolkit is needed to say which target a machine wants.
"""

from __future__ import annotations

import ctypes

from abc_tvm.errors import TargetError

# CUDA Driver API, CUdevice_attribute.
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


def capability() -> tuple[int, int, int, str]:
    """Compute capability (major, minor), multiprocessors and name of the first CUDA device.

    Raises ``TargetError`` where there is no driver or no device.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise _absent("there is no NVIDIA driver (libcuda.so.1)") from None
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(128)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise _absent("the driver finds no device")
    if driver.cuDeviceGet(ctypes.byref(device), 0):
        raise _absent("the driver does not open its first device")

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), number, device):
            raise _absent("the driver does not describe its first device")
        return value.value

    driver.cuDeviceGetName(name, len(name), device)
    numbers = attribute(_MAJOR), attribute(_MINOR), attribute(_MULTIPROCESSORS)
    return (*numbers, name.value.decode(errors="replace"))


def runs(arch: str) -> bool:
    """Whether the first CUDA device executes code for ``arch``; False where there is none."""
    try:
        major, minor, *_ = capability()
    except TargetError:
        return False
    return serves(arch, major, minor)


def serves(arch: str, major: int, minor: int) -> bool:
    """Whether a device of this compute capability executes code for ``arch``."""
    number = int(arch.removeprefix("sm_"))
    return number // 10 == major and number % 10 <= minor


def _absent(reason: str) -> TargetError:
    return TargetError(
        f"target cuda: {reason}: name the architecture instead (cuda-sm80, cuda-sm90, …) to "
        "compile for another machine"
    )
