"""Whether an artifact may run on a device, as far as its RPC server tells.

A server with TVM's compiler (as ``pip install`` makes it) knows its processor by LLVM's name. One
with the runtime alone does not; its loader then refuses another architecture.
"""

from __future__ import annotations

from typing import Any

from abc_tvm.errors import TargetError
from abc_tvm.runtime.container import Info

_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
# LLVM's names of what later ARM cores have and its code generator uses by itself; the Technical
# Reference Manuals of Cortex-A72 (none of these) and Cortex-A76 (the first five) list them.
_ARM = frozenset({"dotprod", "fullfp16", "lse", "rcpc", "rdm", "i8mm", "bf16", "sve", "sve2"})
_LOADER = ("cannot open shared object file", "wrong ELF class", "invalid ELF header")


def check_device(session: Any, where: str, label: str, info: Info) -> None:
    """Refuse an artifact for another processor than the device's.

    Args:
        session: TVM's RPC session.
        where: The device, for messages.
        label: The artifact, for messages.

    Raises:
        TargetError: Other architecture, or instructions that the processor lacks.
    """
    triple = _ask(session, "target.llvm_get_system_triple")
    if not triple:
        return
    wanted, there = _architecture(info.target["triple"]), _architecture(triple)
    if wanted != there:
        raise _other(label, info, f"the device at {where} is {there}")
    cpu = _ask(session, "target.llvm_get_system_cpu")
    # Of a name that it does not know LLVM says "generic": then nothing is known.
    if not cpu or cpu in ("generic", info.target["cpu"]):
        return
    missing = sorted(_required(info) - _features(triple, cpu, []))
    if missing:
        raise _other(label, info, f"the {cpu} at {where} lacks {', '.join(missing)}")


def not_loaded(label: str, info: Info, where: str, error: Exception) -> TargetError | None:
    """What to say where the device's loader refused another architecture's library."""
    if any(words in str(error) for words in _LOADER):
        return _other(label, info, f"the device at {where} cannot load it: it is no such machine")
    return None


def _other(label: str, info: Info, reason: str) -> TargetError:
    return TargetError(
        f"{label}: compiled for {_architecture(info.target['triple'])} (target "
        f"{info.target['name']}), and {reason}; compile for the device (-t with its target)"
    )


def _required(info: Info) -> frozenset[str]:
    target = info.target
    if _architecture(target["triple"]) != "aarch64":
        return frozenset(target["requires"])
    return _features(target["triple"], target["cpu"], target["features"]) & _ARM


def _features(triple: str, cpu: str, more: list[str]) -> frozenset[str]:
    import tvm
    from tvm.target import codegen

    options = {"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": list(more)}
    features = codegen.llvm_get_cpu_features(tvm.target.Target(options))
    return frozenset(str(feature) for feature in features)


def _architecture(triple: str) -> str:
    name = triple.partition("-")[0]
    return _ALIASES.get(name, name)


def _ask(session: Any, function: str) -> str:
    try:
        return str(session.get_function(function)())
    except AttributeError:  # the server has the runtime alone
        return ""
