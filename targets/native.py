"""The machine that we run on, as a device.

The processor's name alone is not enough: a virtual machine may hide instructions that the name
promises. So the flags that Linux lists decide, and the device says in ``+`` and ``-`` features
where they differ from what LLVM believes of the name.
"""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

from abc_tvm.errors import TargetError
from abc_tvm.targets.device import Device
from abc_tvm.targets.files import NATIVE, names, shipped
from abc_tvm.targets.host import INSTRUCTION_SETS, host_features

_AVX2 = frozenset({"avx2", "fma", "popcnt", "bmi", "bmi2"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}

# Best first: the features that a family's schedules rely on, and the shipped device that stands
# in for what cannot be seen from here (registers, costs, cache sizes in a bare container).
_FAMILIES = (
    (_AVX512 | {"avx512vpopcntdq", "avx512fp16"}, "sapphirerapids"),
    (_AVX512 | {"avx512vpopcntdq"}, "zen4"),
    (_AVX512, "skylake-avx512"),
    (_AVX2, "haswell"),
    (frozenset({"ssse3", "sse4.1", "sse4.2", "popcnt"}), "x86-64"),
)


def detect(root: Path = Path("/")) -> Device:
    """The machine that we run on, as the device ``native``.

    ``cores`` are those that this process may use. Registers and costs come from the shipped
    device of the same processor, else from the one that stands for its family; so do the caches
    that the system does not list. Raises ``TargetError`` on anything but Linux on x86-64.
    """
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise _unknown(f"{platform.system()} on {platform.machine()} cannot be detected")
    host = host_features(root)
    stand_in = next((shipped(name) for wanted, name in _FAMILIES if wanted <= host), None)
    if stand_in is None:
        raise _unknown("the processor lacks popcnt or SSE4.2 (x86-64-v2)")

    from tvm.target import codegen

    cpu = str(codegen.llvm_get_system_cpu())
    devices = (shipped(name) for name in names())
    model = next((d for d in devices if (d.cpu, d.isa) == (cpu, stand_in.isa)), stand_in)
    caches = _caches(root)
    dots = {"avx512vnni"} if model.vector_bits == 512 else {"avxvnni"}
    cost = model.cost if dots <= host else replace(model.cost, dot=None)
    device = replace(
        model,
        name=NATIVE,
        description=f"this machine ({cpu}, {stand_in.isa})",
        cpu=cpu,
        features=(),
        cores=len(os.sched_getaffinity(0)),
        cost=cost,
        l1d_kib=caches.get("1", model.l1d_kib),
        l2_kib=caches.get("2", model.l2_kib),
        l3_kib=caches.get("3", model.l3_kib),
    )
    return replace(device, features=_corrections(device, host))


def _corrections(device: Device, host: frozenset[str]) -> tuple[str, ...]:
    """What the processor has beyond LLVM's idea of ``device.cpu`` (+), and what it lacks (-)."""
    from tvm.target import codegen

    believed = {str(feature) for feature in codegen.llvm_get_cpu_features(device.tvm_target())}
    more = host - believed
    less = (believed & INSTRUCTION_SETS) - host
    return (*(f"+{name}" for name in sorted(more)), *(f"-{name}" for name in sorted(less)))


def _caches(root: Path) -> dict[str, int]:
    """The data caches of core 0 in KiB, by level ("1", "2" …); those not listed are absent."""
    sizes: dict[str, int] = {}
    for index in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / file).read_text(encoding="ascii").strip()
                for file in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind in ("Data", "Unified") and size[:-1].isdigit() and size[-1] in "KM":
            sizes[level] = int(size[:-1]) * (1024 if size[-1] == "M" else 1)
    return sizes


def _unknown(reason: str) -> TargetError:
    return TargetError(
        f"target native: {reason}: name a target instead ({', '.join(names())}) "
        "or write its .toml file"
    )
