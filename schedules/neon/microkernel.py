"""The inner loop of bit convolutions on AArch64, instruction by instruction.

What an in-order core loses, it loses to the order of instructions, and LLVM's order for Cortex-A53
takes 1.4 times the cycles of its vector unit. So the loop is written out here, as a modulo schedule::

    slot i:   eor temp[i]      activation ^ weights
              cnt temp[i-2]    bits of each byte
              add sum[i-4]     += temp[i-4], in bytes (or ``udot`` into 32-bit sums)

Slots run over registers of weights, then pixels, and on into the next step, so that a result is used
six cycles after it was begun, and 16-byte loads of the next step go between the slots. Two slots of
every step belong to the step before it: the first step finds zeros there, and what the last step
leaves is drained behind the loop.

Latencies: Arm Cortex-A53 as in LLVM's scheduling model (AArch64SchedA53.td): 6 cycles for a vector
operation, 4 for a load. Out-of-order cores do not mind the order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

STEPS = 255 // 8
"""Steps of at most 8 that a byte can sum."""

TO_COUNT, TO_ADD = 2, 4
"""Slots between ``eor`` and ``cnt``, and between ``eor`` and the addition."""

REGISTERS = 32
LONGEST = 6
"""Most steps in one turn of the loop, which ends in about six cycles of an empty pipeline."""

_OUT, _ACT, _WEIGHT, _TABLE, _COUNT, _LEFT = "x12", "x13", "x14", "x15", "x16", "x17"
_OFFSETS = range(LONGEST)  # x0 ...
_ADDRESSES = range(LONGEST, 2 * LONGEST)  # x6 ...
_FAR_OFFSETS = ("x20", "x21", "x22", "x23")
_SCALARS = (*range(18), *range(20, 24))
_FAR = 65520
"""Largest immediate offset of a 16-byte load."""

BEGIN, END = "// bit loop begins", "// bit loop ends"


@dataclass(frozen=True)
class Registers:
    """How the 32 vector registers are shared out to a tile of ``pixels x registers`` sums."""

    pixels: int
    registers: int
    weights: int
    temps: int

    @property
    def sums(self) -> int:
        return self.pixels * self.registers

    @property
    def total(self) -> int:
        return self.sums + self.pixels + self.weights + self.temps

    @staticmethod
    def share(pixels: int, registers: int, dot: bool) -> Registers | None:
        """The plan of a tile; ``None`` where it does not fit, or is too small to fill a pipeline.

        The names of temporaries and weights must repeat with the step, so their numbers divide it.
        """
        sums = pixels * registers
        temps = next((n for n in range(TO_ADD + 1, sums + 1) if sums % n == 0), None)
        if temps is None:
            return None
        plans = (Registers(pixels, registers, n, temps) for n in (4, 2, 1) if registers % n == 0)
        room = REGISTERS - dot  # udot multiplies by a register of ones
        return next((plan for plan in plans if plan.total <= room), None)


def reachable(pixels: Iterable[int]) -> bool:
    """Whether a kernel can address these offsets of its pixels."""
    return len({n for n in pixels if n > _FAR}) <= len(_FAR_OFFSETS)


@dataclass(frozen=True)
class Kernel:
    """A loop over the reduction of one tile. Offsets are bytes.

    ``steps`` are where the activations of each tap and word lie, from the first one on; ``pixels``
    those of each pixel of the tile; ``outputs`` where the int32 sums of each pixel go. Weights are
    16 bytes for each of ``registers``, step after step. ``dot`` uses ``udot``.
    """

    steps: tuple[int, ...]
    pixels: tuple[int, ...]
    outputs: tuple[int, ...]
    registers: int
    dot: bool

    @property
    def name(self) -> str:
        """Two kernels of one name are the same kernel."""
        return "abc_bits_" + hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def unrolled(self) -> int:
        """Steps in one turn of the loop."""
        return next(n for n in range(LONGEST, 0, -1) if len(self.steps) % n == 0)

    def llvm(self) -> str:
        """LLVM IR of ``int name(out, activations, weights, end of out)``; the last is not read."""
        # Loads run ahead of the loop and must find something there: the last step once more.
        steps = [*self.steps, *self.steps[-1:] * (self.unrolled + 2)]
        offsets = ", ".join(f"i32 {n}" for n in steps)
        text = "\\0A".join(self.assembly())
        clobbers = [f"~{{v{n}}}" for n in range(REGISTERS)] + [f"~{{x{n}}}" for n in _SCALARS]
        constraints = ",".join(["r", "r", "r", "r", *clobbers, "~{cc}", "~{memory}"])
        return f"""
            @{self.name}_taps = linkonce_odr hidden constant [{len(steps)} x i32] [{offsets}]
            define linkonce_odr hidden i32 @{self.name}(ptr %out, ptr %act, ptr %weights, ptr %end) #0 {{
              call void asm sideeffect "{text}", "{constraints}"
                (ptr %out, ptr %act, ptr %weights, ptr @{self.name}_taps)
              ret i32 0
            }}
            attributes #0 = {{ noinline }}
        """

    def assembly(self) -> list[str]:
        """The whole kernel; ``$0`` to ``$3`` are out, activations, weights and the table."""
        return list(_Writer(self).lines())


class _Writer:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        pixels = len(kernel.pixels)
        plan = Registers.share(pixels, kernel.registers, kernel.dot)
        if plan is None:
            raise ValueError(f"no registers for {pixels} pixels x {kernel.registers} sums")
        self.plan = plan
        names = iter(range(REGISTERS))
        self.sums = [next(names) for _ in range(plan.sums)]
        self.acts = [next(names) for _ in range(pixels)]
        self.weights = [next(names) for _ in range(plan.weights)]
        self.temps = [next(names) for _ in range(plan.temps)]
        self.ones = next(names) if kernel.dot else -1
        far = sorted({n for n in kernel.pixels if n > _FAR})
        if not reachable(kernel.pixels):
            raise ValueError("too many pixels are too far apart for one tile")
        self.far = dict(zip(far, _FAR_OFFSETS, strict=False))
        self.turn = range(kernel.unrolled)
        self.stride = 16 * kernel.registers

    def lines(self) -> Iterator[str]:
        kernel, plan = self.kernel, self.plan
        steps = len(kernel.steps)
        turns = steps // kernel.unrolled
        chunks = 1 if kernel.dot else -(-turns // (STEPS // kernel.unrolled))
        length = -(-turns // chunks) * kernel.unrolled
        # All these registers are clobbered, so LLVM passes the inputs in others.
        inputs = (_OUT, _ACT, _WEIGHT, _TABLE)
        yield from (f"mov {register}, ${n}" for n, register in enumerate(inputs))
        for offset, register in self.far.items():
            yield from _constant(register, offset)
        last = self.turn[-1]
        yield f"ldr w{_OFFSETS[last]}, [{_TABLE}], #4"
        yield f"sub {_WEIGHT}, {_WEIGHT}, #{self.stride * len(self.turn)}"
        yield self.locate(last)
        yield from (self.load_activation(p, last) for p in range(plan.pixels))
        yield from (self.load_weight(last + 1, r) for r in range(plan.weights))
        yield from self.fetch()
        if kernel.dot:
            yield f"movi v{self.ones}.16b, #1"
        yield from _constant(_LEFT if chunks > 1 else _COUNT, steps)
        if chunks > 1:
            zero = self.temps[0]
            yield f"movi v{zero}.16b, #0"
            yield from (f"str q{zero}, {at}" for at in self.results())
            yield "2:"
            yield f"mov {_COUNT}, #{length}"
            yield f"cmp {_LEFT}, {_COUNT}"
            yield f"csel {_COUNT}, {_LEFT}, {_COUNT}, lo"
            yield f"sub {_LEFT}, {_LEFT}, {_COUNT}"
        yield from (f"movi v{n}.16b, #0" for n in (*self.sums, *self.temps))
        yield from ("1:", BEGIN, *self.body(), "b.ne 1b", END)
        yield from self.drain()
        yield from self.widen(add=chunks > 1)
        if chunks > 1:
            yield f"cbnz {_LEFT}, 2b"

    def body(self) -> Iterator[str]:
        """Some steps. What is no vector instruction and no load of one comes first, together."""
        yield f"add {_WEIGHT}, {_WEIGHT}, #{self.stride * len(self.turn)}"
        yield from (self.locate(n) for n in self.turn)
        yield from self.fetch()
        yield f"subs {_COUNT}, {_COUNT}, #{len(self.turn)}"
        for n in self.turn:
            yield from self.step(n)

    def step(self, n: int) -> Iterator[str]:
        """A slot for each sum; what the next step needs is loaded as soon as there is room."""
        plan = self.plan
        for slot in range(plan.sums):
            r, p = divmod(slot, plan.pixels)
            act, weight = self.acts[p], self.weights[r % plan.weights]
            yield f"eor v{self.temp(slot)}.16b, v{act}.16b, v{weight}.16b"
            yield self.count(slot - TO_COUNT)
            yield self.add(slot - TO_ADD)
            if r == plan.registers - 1:
                yield self.load_activation(p, n)
            if p == plan.pixels - 1:
                further, following = divmod(r + plan.weights, plan.registers)
                yield self.load_weight(n + further, following)

    def fetch(self) -> Iterator[str]:
        """Offsets of the activations that the next turn loads."""
        registers = [f"w{_OFFSETS[n]}" for n in self.turn]
        while len(registers) > 1:
            yield f"ldp {registers.pop(0)}, {registers.pop(0)}, [{_TABLE}], #8"
        yield from (f"ldr {register}, [{_TABLE}], #4" for register in registers)

    def locate(self, n: int) -> str:
        """Address of the activations that step ``n`` of this turn loads, for the step after it."""
        return f"add x{_ADDRESSES[n]}, {_ACT}, x{_OFFSETS[n]}"

    def load_activation(self, p: int, n: int) -> str:
        offset = self.kernel.pixels[p]
        at = self.far.get(offset, f"#{offset}")
        return f"ldr q{self.acts[p]}, [x{_ADDRESSES[n]}, {at}]"

    def load_weight(self, n: int, r: int) -> str:
        """Weights of register ``r`` for the ``n``-th step from the beginning of this turn."""
        offset = n * self.stride + 16 * r
        return f"ldr q{self.weights[r % self.plan.weights]}, [{_WEIGHT}, #{offset}]"

    def temp(self, slot: int) -> int:
        return self.temps[slot % self.plan.temps]

    def count(self, slot: int) -> str:
        return f"cnt v{self.temp(slot)}.16b, v{self.temp(slot)}.16b"

    def add(self, slot: int) -> str:
        total, part = self.sums[slot % self.plan.sums], self.temp(slot)
        if self.kernel.dot:
            return f"udot v{total}.4s, v{part}.16b, v{self.ones}.16b"
        return f"add v{total}.16b, v{total}.16b, v{part}.16b"

    def drain(self) -> Iterator[str]:
        yield from (self.count(slot) for slot in range(-TO_COUNT, 0))
        yield from (self.add(slot) for slot in range(-TO_ADD, 0))

    def results(self) -> list[str]:
        """Where the sums go, in the order of ``sums``: registers, then pixels."""
        steps, outputs = range(self.plan.registers), self.kernel.outputs
        return [f"[{_OUT}, #{base + 16 * r}]" for r in steps for base in outputs]

    def widen(self, add: bool) -> Iterator[str]:
        """Bytes to 32-bit sums, added to those of earlier chunks."""
        places = self.results()
        if self.kernel.dot:
            yield from (f"str q{n}, {at}" for n, at in zip(self.sums, places, strict=True))
            return
        for n, at in zip(self.sums, places, strict=True):
            total = self.temps[n % self.plan.temps]
            if add:
                yield f"ldr q{total}, {at}"
            yield f"uaddlp v{n}.8h, v{n}.16b"
            yield f"{'uadalp' if add else 'uaddlp'} v{total}.4s, v{n}.8h"
            yield f"str q{total}, {at}"


def _constant(register: str, value: int) -> Iterator[str]:
    yield f"mov {register}, #{value & 0xFFFF}"
    if value >> 16:
        yield f"movk {register}, #{value >> 16}, lsl #16"
