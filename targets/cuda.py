"""The first CUDA device of this machine, as a device.

NVIDIA's driver is asked, through its C library, so that neither TVM's CUDA runtime nor a toolkit
is needed to say which target a machine wants.
"""

from __future__ import annotations

import ctypes
from dataclasses import replace

from abc_tvm.errors import TargetError
from abc_tvm.targets.device import CUDA, Device, load, names

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


def detect() -> Device:
    """The first CUDA device, on the shipped device of its architecture.

    Code for an architecture runs on later ones of the same major number, so the nearest earlier
    one stands in for an architecture that is not shipped. Raises ``TargetError`` where there is
    no device, or none that a shipped target serves.
    """
    major, minor, sms, name = capability()
    shipped = [load(n) for n in names() if n.startswith(f"{CUDA}-")]
    fits = [d for d in shipped if d.gpu is not None and _runs(d.gpu.arch, major, minor)]
    model = max(fits, key=lambda d: d.name, default=None)
    if model is None or model.gpu is None:
        raise TargetError(
            f"target {CUDA}: {name} has compute capability {major}.{minor}, and there are "
            f"{', '.join(d.name for d in shipped)}: write a .toml file for it"
        )
    description = f"this machine's {name} ({model.gpu.arch})"
    gpu = replace(model.gpu, sms=sms)
    return replace(model, name=CUDA, description=description, cores=sms, gpu=gpu)


def runs(arch: str) -> bool:
    """Whether the first CUDA device executes code for ``arch``; False where there is none."""
    try:
        major, minor, *_ = capability()
    except TargetError:
        return False
    return _runs(arch, major, minor)


def _runs(arch: str, major: int, minor: int) -> bool:
    number = int(arch.removeprefix("sm_"))
    return number // 10 == major and number % 10 <= minor


def _absent(reason: str) -> TargetError:
    return TargetError(
        f"target {CUDA}: {reason}: name the architecture instead (cuda-sm80, cuda-sm90, …) to "
        "compile for another machine"
    )
