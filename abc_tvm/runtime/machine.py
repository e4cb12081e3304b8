"""Whether an artifact may run on this machine, decided before any of its code does."""

from __future__ import annotations

import os
import platform
import struct
from importlib import metadata
from pathlib import Path

from abc_tvm.errors import ArtifactError, TargetError
from abc_tvm.runtime.container import Info

# System V ABI, ELF header: e_machine is the 16-bit word at byte 18.
_ELF_MACHINES = {
    3: "i686",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}


def check_machine(path: str | os.PathLike[str], info: Info) -> None:
    """Refuse an artifact for another processor or another TVM.

    Raises:
        TargetError: Other architecture, or instructions that this processor lacks.
        ArtifactError: Built with another TVM than the one installed.
    """
    with Path(path).open("rb") as stream:
        header = stream.read(20)
    (machine,) = struct.unpack_from("<H", header, 18) if len(header) == 20 else (0,)
    architecture = _ELF_MACHINES.get(machine, f"ELF machine {machine}")
    here = platform.machine()
    name = info.target["name"]
    again = f"compile it for this one (abc-tvm compile -t native), or run it on a {name}"
    if architecture != here:
        raise TargetError(
            f"{path}: compiled for {architecture} (target {name}), and this machine is {here}; "
            f"{again}"
        )
    missing = sorted(set(info.target["requires"]) - _host_features(info))
    if missing:
        raise TargetError(
            f"{path}: compiled for target {name}, whose instructions {', '.join(missing)} this "
            f"processor lacks; {again}"
        )
    installed = metadata.version("apache-tvm")
    if info.tvm != installed:
        raise ArtifactError(
            f"{path}: compiled with TVM {info.tvm}, and TVM {installed} is installed; compile it "
            f"again, or install apache-tvm=={info.tvm}"
        )


def _host_features(info: Info) -> frozenset[str]:
    if not info.target["requires"]:
        return frozenset()
    from abc_tvm.targets.host import host_features

    return host_features()
