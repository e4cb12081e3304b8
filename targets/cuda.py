"""The first CUDA device of this machine, as a device."""

from __future__ import annotations

from dataclasses import replace

from abc_tvm.errors import TargetError
from abc_tvm.targets import driver
from abc_tvm.targets.device import Device
from abc_tvm.targets.files import CUDA, names, shipped


def detect() -> Device:
    """The first CUDA device, on the shipped device of its architecture.

    Code for an architecture runs on later ones of the same major number, so the nearest earlier
    one stands in for an architecture that is not shipped. Raises ``TargetError`` where there is
    no device, or none that a shipped target serves.
    """
    major, minor, sms, name = driver.capability()
    devices = [shipped(n) for n in names() if n.startswith(f"{CUDA}-")]
    fits = [d for d in devices if d.gpu is not None and driver.serves(d.gpu.arch, major, minor)]
    model = max(fits, key=lambda d: d.name, default=None)
    if model is None or model.gpu is None:
        raise TargetError(
            f"target {CUDA}: {name} has compute capability {major}.{minor}, and there are "
            f"{', '.join(d.name for d in devices)}: write a .toml file for it"
        )
    description = f"this machine's {name} ({model.gpu.arch})"
    return replace(model, name=CUDA, description=description, cores=sms)
