"""Which artifacts a device is refused, by what its server says of its processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from abc_tvm.errors import TargetError
from abc_tvm.remote.machine import check_device, not_loaded
from abc_tvm.runtime.container import Info
from abc_tvm.targets import load


class Server:
    """The two questions that a session is asked; no answer where the server has the runtime."""

    def __init__(self, triple: str, cpu: str) -> None:
        self._answers = {
            "target.llvm_get_system_triple": triple,
            "target.llvm_get_system_cpu": cpu,
        }

    def get_function(self, name: str) -> Callable[[], str]:
        if not self._answers[name]:
            raise AttributeError(name)
        return lambda: self._answers[name]


def info(target: str, *requires: str) -> Info:
    device = load(target)
    described: dict[str, Any] = {
        "name": device.name,
        "triple": device.triple,
        "cpu": device.cpu,
        "features": list(device.features),
        "requires": list(requires),
    }
    return Info(inputs=(), outputs=(), target=described, tvm="")


ARM = "aarch64-unknown-linux-gnu"
X86 = "x86_64-conda-linux-gnu"


@pytest.mark.parametrize(
    ("artifact", "triple", "cpu"),
    [
        (info("rpi4"), ARM, "cortex-a72"),
        (info("rpi3"), ARM, "cortex-a72"),
        (info("rpi4"), ARM, "cortex-a53"),
        (info("rpi4"), "arm64-linux-gnu", "cortex-a76"),
        (info("rpi5"), ARM, "generic"),
        (info("rpi5"), "", ""),
        (info("haswell", "avx2"), X86, "znver4"),
    ],
)
def test_accepted(artifact: Info, triple: str, cpu: str) -> None:
    check_device(Server(triple, cpu), "pi:9090", "m.so", artifact)


@pytest.mark.parametrize(
    ("artifact", "triple", "cpu", "said"),
    [
        (info("rpi5"), ARM, "cortex-a72", r"target rpi5.*the cortex-a72 at pi:9090 lacks dotprod"),
        (info("haswell", "avx2"), ARM, "cortex-a72", "for x86_64 .* at pi:9090 is aarch64"),
        (info("rpi4"), X86, "znver4", "for aarch64 .* at pi:9090 is x86_64"),
        (info("zen4", "avx2", "avx512f"), X86, "haswell", "haswell at pi:9090 lacks avx512f;"),
    ],
)
def test_refused(artifact: Info, triple: str, cpu: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        check_device(Server(triple, cpu), "pi:9090", "m.so", artifact)


def test_what_the_loader_says() -> None:
    error = RuntimeError("… n.so: cannot open shared object file: No such file or directory")
    found = not_loaded("m.so", info("rpi4"), "pi:9090", error)
    assert found is not None and "pi:9090 cannot load it" in str(found)
    assert not_loaded("m.so", info("rpi4"), "pi:9090", RuntimeError("out of memory")) is None
