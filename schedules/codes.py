"""Which bytes a device multiplies: the type that levels are coded in."""

from __future__ import annotations

from typing import Literal, Protocol

from abc_tvm.targets.device import Cost


class HasDots(Protocol):
    """What :func:`code_type` needs to know of a device."""

    @property
    def isa(self) -> str:
        """Instruction-set family."""

    @property
    def cost(self) -> Cost:
        """Costs of arithmetic; ``cost.dot`` is there where dot products are."""


def code_type(device: HasDots) -> Literal["uint8", "int8"] | None:
    """ "uint8" for ``vpdpbusd`` (x86), "int8" for ``sdot`` (Arm) and for GPUs, where what lies
    outside the image is 0; ``None`` without dot products.
    """
    if device.cost.dot is None:
        return None
    return "int8" if device.isa in ("neon-dot", "cuda") else "uint8"
