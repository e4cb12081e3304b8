"""Schedules for x86 processors.

Which kernel counts differing bits depends on one instruction: ``VPOPCNTD`` (AVX-512
VPOPCNTDQ). Without it LLVM spells a vector popcount in about eight operations, and a table lookup
by ``VPSHUFB`` (from AVX2 on) is more than twice as fast.
"""

from __future__ import annotations

from typing import Literal, Protocol

Family = Literal["popcount", "nibble"]

LOOKUP = frozenset({"avx2", "avx512"})
"""Values of ``Device.isa`` with a 256-bit byte shuffle and without a vector popcount."""


class HasIsa(Protocol):
    """What :func:`family` needs to know of a device."""

    @property
    def isa(self) -> str:
        """Instruction-set family, as in the device's TOML."""


def family(device: HasIsa) -> Family:
    """Which kernels count bits on ``device``.

    "popcount": :func:`abc_tvm.compute.accumulate.popcounts` with
    :func:`abc_tvm.schedules.window.schedule_window`. "nibble":
    :func:`abc_tvm.compute.nibbles.nibble_counts` with
    :func:`abc_tvm.schedules.x86.nibbles.schedule_nibbles`.
    """
    return "nibble" if device.isa in LOOKUP else "popcount"
