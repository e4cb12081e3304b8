"""The inner loop of bit convolutions: ``eor``, ``cnt`` and an addition for 128 binary products.

The three run as a modulo schedule, so that a result is used six cycles after it was begun::

    slot i:   eor temp[i]      activation ^ weights
              cnt temp[i-2]    bits of each byte
              add sum[i-4]     += temp[i-4], in bytes (or ``udot`` into 32-bit sums)

The first slots of a step belong to the step before it: the first step finds zeros there, and what
the last step leaves is drained behind the loop. A byte sums 31 steps of at most 8; then it goes
into the 32-bit sums in memory, by ``uaddlp`` and ``uadalp``.

Latencies are those of the Cortex-A53 in LLVM's scheduling model (AArch64SchedA53.td): 6 cycles for
a vector operation, 4 for a load. Out-of-order cores do not mind the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from abc_tvm.compute.byte_sums import MOST_ADDED

from .microkernel import COUNT, LEFT, REGISTERS, Microkernel, Writer, constant

TO_COUNT, TO_ADD = 2, 4
"""Slots between ``eor`` and ``cnt``, and between ``eor`` and the addition."""


@dataclass(frozen=True)
class Registers:
    """How the vector registers are shared out to a tile of ``pixels x registers`` sums."""

    weights: int
    temps: int

    @staticmethod
    def share(pixels: int, registers: int, dot: bool) -> Registers | None:
        """The plan of a tile; ``None`` where it does not fit, or is too small to fill a pipeline.

        The names of temporaries and weights must repeat with the step, so their numbers divide it.
        """
        sums = pixels * registers
        temps = next((n for n in range(TO_ADD + 1, sums + 1) if sums % n == 0), None)
        if temps is None:
            return None
        room = REGISTERS - sums - pixels - temps - dot  # udot multiplies by a register of ones
        weights = next((n for n in (4, 2, 1) if registers % n == 0 and n <= room), None)
        return None if weights is None else Registers(weights, temps)


@dataclass(frozen=True)
class BitKernel(Microkernel):
    """A tile of differing bits. Activations are packed words, spread to four; sums are int32.

    Weights are 16 bytes for each of ``registers``, step after step. ``dot``: there is ``udot``.
    """

    dot: bool

    def assembly(self) -> list[str]:
        plan = Registers.share(len(self.pixels), self.registers, self.dot)
        if plan is None:
            raise ValueError(f"no registers for {len(self.pixels)} x {self.registers} sums")
        return _BitWriter(self, plan).lines()


class _BitWriter(Writer):
    def __init__(self, kernel: BitKernel, plan: Registers) -> None:
        super().__init__(kernel, kernel.registers, plan.weights)
        self.temps = self.take(plan.temps)
        self.dot = kernel.dot
        self.ones = self.take(1)[0] if self.dot else -1

    def slot(self, group: int, pixel: int) -> Iterator[str]:
        slot = group * self.pixels + pixel
        act, weight = self.acts[pixel], self.weight(group)
        yield f"eor v{self.temp(slot)}.16b, v{act}.16b, v{weight}.16b"
        yield self.count(slot - TO_COUNT)
        yield self.add(slot - TO_ADD)

    def around(self, loop: list[str]) -> Iterator[str]:
        steps, turn = len(self.kernel.steps), len(self.turn)
        turns, most = steps // turn, MOST_ADDED // turn
        chunks = 1 if self.dot else -(-turns // most)
        if self.dot:
            yield f"movi v{self.ones}.16b, #1"
        yield from constant(COUNT if chunks == 1 else LEFT, steps)
        if chunks > 1:
            yield from self.clear(self.temps[:1])
            yield from (f"str q{self.temps[0]}, {at}" for at in self.results())
            yield "2:"
            yield f"mov {COUNT}, #{-(-turns // chunks) * turn}"
            yield f"cmp {LEFT}, {COUNT}"
            yield f"csel {COUNT}, {LEFT}, {COUNT}, lo"
            yield f"sub {LEFT}, {LEFT}, {COUNT}"
        yield from self.clear((*self.sums, *self.temps))
        yield from loop
        yield from (self.count(slot) for slot in range(-TO_COUNT, 0))
        yield from (self.add(slot) for slot in range(-TO_ADD, 0))
        yield from self.store() if self.dot else self.widen(add=chunks > 1)
        if chunks > 1:
            yield f"cbnz {LEFT}, 2b"

    def temp(self, slot: int) -> int:
        return self.temps[slot % len(self.temps)]

    def count(self, slot: int) -> str:
        return f"cnt v{self.temp(slot)}.16b, v{self.temp(slot)}.16b"

    def add(self, slot: int) -> str:
        total, part = self.sums[slot % len(self.sums)], self.temp(slot)
        if self.dot:
            return f"udot v{total}.4s, v{part}.16b, v{self.ones}.16b"
        return f"add v{total}.16b, v{total}.16b, v{part}.16b"

    def widen(self, add: bool) -> Iterator[str]:
        """Bytes to 32-bit sums, added to those of earlier chunks."""
        for n, at in zip(self.sums, self.results(), strict=True):
            total = self.temp(n)
            if add:
                yield f"ldr q{total}, {at}"
            yield f"uaddlp v{n}.8h, v{n}.16b"
            yield f"{'uadalp' if add else 'uaddlp'} v{total}.4s, v{n}.8h"
            yield f"str q{total}, {at}"
