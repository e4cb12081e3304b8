"""Microkernels of tiles, as text."""

from __future__ import annotations

from abc_tvm.schedules.neon.bit_kernel import BitKernel
from abc_tvm.schedules.neon.microkernel import BEGIN, END, Microkernel


def bits(pixels: int, registers: int, steps: int = 18, dot: bool = False) -> BitKernel:
    words = tuple(16 * n for n in range(steps))
    outputs = tuple(128 * n for n in range(pixels))
    return BitKernel(words, tuple(32 * n for n in range(pixels)), outputs, registers, dot)


def inner(kernel: Microkernel) -> list[str]:
    lines = kernel.assembly()
    return lines[lines.index(BEGIN) + 1 : lines.index(END)]
