"""The inner loop of float convolutions, ``fmla`` by element, and of those on bytes, ``sdot``.

A step is up to four input channels, which one load brings for a pixel: ``fmla`` takes its second
factor from any lane of a register, so that nothing is ever broadcast. Each sum is added to once in
a channel, in the order of the taps and channels, with one rounding. With ``sdot`` a lane is four
channels of a byte each, and sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .microkernel import COUNT, REGISTERS, Microkernel, Writer, constant

LATENCY = 10
"""Sums that keep one ``fmla`` a cycle busy on Cortex-A53 and A72 (LLVM's scheduling models)."""


def weights_held(pixels: int, registers: int, channels: int) -> int | None:
    """Registers for weights beside the sums and activations of a tile; ``None`` if it is too big.

    Their number divides a step; as many as there is room for, up to half the registers.
    """
    room = min(REGISTERS - pixels * registers - pixels, REGISTERS // 2)
    groups = channels * registers
    return next((n for n in range(room, 1, -1) if groups % n == 0), None)


@dataclass(frozen=True)
class FloatKernel(Microkernel):
    """A tile of sums of products. Activations, weights and sums are float32; with ``dot`` the first
    two are int8, the sums int32.

    Weights are 16 bytes for each of ``channels`` and ``registers``, step after step. ``in_order``:
    all loads of a step come together, where there are registers for all its weights.
    """

    channels: int
    in_order: bool
    dot: bool = False

    def assembly(self) -> list[str]:
        weights = weights_held(len(self.pixels), self.registers, self.channels)
        if weights is None:
            raise ValueError(f"no registers for {len(self.pixels)} x {self.registers} sums")
        return _FloatWriter(self, weights).lines()


class _FloatWriter(Writer):
    def __init__(self, kernel: FloatKernel, weights: int) -> None:
        super().__init__(kernel, kernel.channels * kernel.registers, weights)
        self.together = kernel.in_order and weights == self.groups
        self.dot = kernel.dot

    def slot(self, group: int, pixel: int) -> Iterator[str]:
        channel, register = divmod(group, self.kernel.registers)
        total = self.sums[register * self.pixels + pixel]
        weight, act = self.weight(group), self.acts[pixel]
        if self.dot:
            yield f"sdot v{total}.4s, v{weight}.16b, v{act}.4b[{channel}]"
        else:
            yield f"fmla v{total}.4s, v{weight}.4s, v{act}.s[{channel}]"

    def around(self, loop: list[str]) -> Iterator[str]:
        yield from constant(COUNT, len(self.kernel.steps))
        yield from self.clear(self.sums)
        yield from loop
        yield from self.store()
