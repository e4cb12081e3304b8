"""Schedules for Arm processors with NEON (Advanced SIMD), 64-bit and 32-bit.

``cnt`` counts the bits of bytes, so counts are summed in bytes and widened before they overflow;
processors with the dot-product extension add four bytes to a 32-bit sum in one instruction.
"""

from __future__ import annotations

from typing import Literal, Protocol

Family = Literal["bytes", "dot", "bytes32"]


class HasIsa(Protocol):
    """What :func:`family` needs to know of a device."""

    @property
    def isa(self) -> str:
        """Instruction-set family, as in the device's TOML."""


FAMILIES: dict[str, Family] = {"neon": "bytes", "neon-dot": "dot", "neon32": "bytes32"}
"""By ``Device.isa``: "neon" and "neon-dot" are AArch64, "neon32" is the 32-bit form."""

STEPS: frozenset[Family | None] = frozenset({"bytes", "dot"})
"""Families whose loops are written out (:mod:`.microkernel`): those of AArch64."""


def family(device: HasIsa) -> Family | None:
    """How ``device`` counts bits; ``None`` where it has no NEON.

    "bytes" and "dot": :func:`abc_tvm.compute.byte_sums.step_counts` with
    :func:`abc_tvm.schedules.neon.steps.schedule_steps`, summed in bytes or by ``udot``. "bytes32":
    :func:`abc_tvm.compute.byte_sums.byte_counts` with
    :func:`abc_tvm.schedules.neon.bits32.schedule_bits`.
    """
    return FAMILIES.get(device.isa)
