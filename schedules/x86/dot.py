"""Dot products of four bytes: ``acc[lane] += codes[c, 0..3] . weights[c, lane, 0..3]`` at once.

AVX-512 VNNI has them for 512 bits, AVX-VNNI for 256.
"""

from __future__ import annotations

from typing import Any, Protocol

from tvm import tirx

from abc_tvm.compute.byte_products import QUAD
from abc_tvm.schedules.intrinsics import LANES, Instruction, ramp


class HasVectors(Protocol):
    """What :func:`instruction` needs to know of a device."""

    @property
    def vector_bits(self) -> int:
        """Width of a vector register."""


def instruction(device: HasVectors) -> Instruction:
    """The dot product of a device that has one."""
    return vpdpbusd(device.vector_bits)


def vpdpbusd(vector_bits: int) -> Instruction:
    """Of unsigned codes and signed weights, in registers of 256 or 512 bits.

    Intel 64 and IA-32 Software Developer's Manual, ``VPDPBUSD``: no intermediate result saturates.
    """
    lanes = vector_bits // 32

    def emit(store: Any) -> Any:
        total, codes, weights = operands(store)
        four = tirx.call_intrin("int32", "tirx.reinterpret", quad(codes))
        spread = tirx.Broadcast(four, lanes)
        spread = tirx.call_intrin(f"uint8x{QUAD * lanes}", "tirx.reinterpret", spread)
        parts = []
        for first in range(0, LANES, lanes):
            at = [*store.indices[:-1], ramp(store.indices[-1], first, lanes)]
            among = ramp(weights.indices[-1], QUAD * first, QUAD * lanes)
            sums = tirx.call_llvm_pure_intrin(
                f"int32x{lanes}",
                f"llvm.x86.avx512.vpdpbusd.{vector_bits}",
                tirx.BufferLoad(total.source, at),
                spread,
                tirx.BufferLoad(weights.source, [*weights.indices[:-1], among]),
            )
            parts.append(tirx.BufferStore(store.buffer, sums, at))
        return tirx.SeqStmt(parts)

    return emit


def operands(store: Any) -> tuple[Any, Any, Any]:
    """The sum, the code and the weight that ``acc = acc + cast(code) * cast(weight)`` reads."""
    product = store.value.b
    return store.value.a, product.a.value, product.b.value


def quad(codes: Any) -> Any:
    """The load of a code, whose last index is ``4 * c + q``, as a load of all four."""
    first = codes.indices[-1].a
    four = tirx.Ramp(first, tirx.const(1, first.ty.dtype), QUAD)
    return tirx.BufferLoad(codes.source, [*codes.indices[:-1], four])
