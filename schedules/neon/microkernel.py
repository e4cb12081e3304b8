"""Inner loops of convolutions on AArch64, instruction by instruction.

What an in-order core loses, it loses to the order of instructions: LLVM's order for Cortex-A53
takes 1.4 times the cycles of its vector unit for bits, and three times for floats. So these loops
are written out. A *step* is one tap and a few input channels; it goes through *groups*, each with
one register of weights, and through the pixels of the tile in each group. Between them go the loads
of the next step, each as soon as its register is free. The loop's turn is several steps, because
its end empties an in-order pipeline, and so do address calculations, which therefore come in one
place.

:mod:`.bit_kernel` and :mod:`.float_kernel` say what happens in a group.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

REGISTERS = 32
LONGEST = 6
"""Most steps in one turn of the loop."""

BEGIN, END = "// abc loop begins", "// abc loop ends"
"""Comments in the assembly, round the loop."""

_OUT, _ACT, _WEIGHT, _TABLE = "x12", "x13", "x14", "x15"
COUNT, LEFT = "x16", "x17"
_OFFSETS = range(LONGEST)  # x0 to x5
_ADDRESSES = range(LONGEST, 2 * LONGEST)  # x6 to x11
_FAR_OFFSETS = ("x20", "x21", "x22", "x23")
_SCALARS = (*range(18), *range(20, 24))
_FAR = 65520
"""Largest immediate offset of a 16-byte load or store."""


def reachable(pixels: Iterable[int], outputs: Iterable[int] = ()) -> bool:
    """Whether a kernel can address these offsets of its pixels and of its results."""
    far = {n for n in pixels if n > _FAR}
    return len(far) <= len(_FAR_OFFSETS) and all(n + 112 <= _FAR for n in outputs)


@dataclass(frozen=True)
class Microkernel:
    """A loop over the reduction of one tile. Offsets are bytes.

    ``steps`` are where the activations of each step lie, from the first one on; ``pixels`` those of
    each pixel of the tile; ``outputs`` where the sums of each pixel go. A pixel has ``registers``
    vectors of four sums.
    """

    steps: tuple[int, ...]
    pixels: tuple[int, ...]
    outputs: tuple[int, ...]
    registers: int

    @property
    def name(self) -> str:
        """Two kernels of one name are the same kernel."""
        return "abc_loop_" + hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def unrolled(self) -> int:
        """Steps in one turn of the loop."""
        return next(n for n in range(LONGEST, 0, -1) if len(self.steps) % n == 0)

    def assembly(self) -> list[str]:
        """The whole kernel; ``$0`` to ``$3`` are out, activations, weights and the table."""
        raise NotImplementedError

    def llvm(self) -> str:
        """LLVM IR of ``int name(out, activations, weights, end of out)``; the last is not read."""
        # Loads run ahead of the loop and must find something there: the last step once more.
        steps = [*self.steps, *self.steps[-1:] * (self.unrolled + 2)]
        offsets = ", ".join(f"i32 {n}" for n in steps)
        text = "\\0A".join(self.assembly())
        clobbers = [f"~{{v{n}}}" for n in range(REGISTERS)] + [f"~{{x{n}}}" for n in _SCALARS]
        constraints = ",".join(["r", "r", "r", "r", *clobbers, "~{cc}", "~{memory}"])
        arguments = "ptr %out, ptr %act, ptr %weights"
        return f"""
            @{self.name}_taps = linkonce_odr hidden constant [{len(steps)} x i32] [{offsets}]
            define linkonce_odr hidden i32 @{self.name}({arguments}, ptr %end) {{
              call void asm sideeffect "{text}", "{constraints}"
                ({arguments}, ptr @{self.name}_taps)
              ret i32 0
            }}
        """


class Writer(ABC):
    """Writes a kernel: everything but what happens in a group.

    ``groups`` of weights make a step; ``weights``, the number of registers that hold them, divides
    it, so that a step finds them where the last one did. ``together`` puts all loads behind the
    arithmetic, where a step's weights are all in registers: after an instruction of ten cycles, an
    in-order core waits six before each load.
    """

    together = False

    def __init__(self, kernel: Microkernel, groups: int, weights: int) -> None:
        if not reachable(kernel.pixels, kernel.outputs):
            raise ValueError("the pixels of a tile are too far apart")
        self.kernel, self.groups = kernel, groups
        self.pixels = len(kernel.pixels)
        self._free = iter(range(REGISTERS))
        self.sums = self.take(self.pixels * kernel.registers)
        self.acts = self.take(self.pixels)
        self.weights = self.take(weights)
        self.far = dict(
            zip(sorted({n for n in kernel.pixels if n > _FAR}), _FAR_OFFSETS, strict=False)
        )
        self.turn = range(kernel.unrolled)
        self.stride = 16 * groups

    def take(self, count: int) -> list[int]:
        """Numbers of ``count`` vector registers that nothing else uses."""
        return [next(self._free) for _ in range(count)]

    @abstractmethod
    def slot(self, group: int, pixel: int) -> Iterator[str]:
        """The arithmetic of one pixel with the weights of one group."""

    @abstractmethod
    def around(self, loop: list[str]) -> Iterator[str]:
        """The loop, with what clears the sums before it and stores them after it."""

    def lines(self) -> list[str]:
        """The whole kernel."""
        loop = ["1:", BEGIN, *self.body(), "b.ne 1b", END]
        return [*self.begin(), *self.around(loop)]

    def begin(self) -> Iterator[str]:
        # All these registers are clobbered, so LLVM passes the inputs in others.
        inputs = (_OUT, _ACT, _WEIGHT, _TABLE)
        yield from (f"mov {register}, ${n}" for n, register in enumerate(inputs))
        for offset, register in self.far.items():
            yield from constant(register, offset)
        last = self.turn[-1]
        yield f"ldr w{_OFFSETS[last]}, [{_TABLE}], #4"
        yield f"sub {_WEIGHT}, {_WEIGHT}, #{self.stride * len(self.turn)}"
        yield self.locate(last)
        yield from (self.load_activation(p, last) for p in range(self.pixels))
        yield from (self.load_weight(last + 1, g) for g in range(len(self.weights)))
        yield from self.fetch()

    def body(self) -> Iterator[str]:
        yield f"add {_WEIGHT}, {_WEIGHT}, #{self.stride * len(self.turn)}"
        yield from (self.locate(n) for n in self.turn)
        yield from self.fetch()
        yield f"subs {COUNT}, {COUNT}, #{len(self.turn)}"
        for n in self.turn:
            yield from self.step(n)

    def step(self, n: int) -> Iterator[str]:
        """All groups; what the next step needs is loaded as soon as there is room."""
        for g in range(self.groups):
            for p in range(self.pixels):
                yield from self.slot(g, p)
                if g == self.groups - 1 and not self.together:
                    yield self.load_activation(p, n)
            if not self.together:
                further, following = divmod(g + len(self.weights), self.groups)
                yield self.load_weight(n + further, following)
        if self.together:
            yield from (self.load_activation(p, n) for p in range(self.pixels))
            yield from (self.load_weight(n + 1, g) for g in range(self.groups))

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

    def load_weight(self, n: int, g: int) -> str:
        """Weights of group ``g`` for the ``n``-th step from the beginning of this turn."""
        return f"ldr q{self.weight(g)}, [{_WEIGHT}, #{n * self.stride + 16 * g}]"

    def weight(self, g: int) -> int:
        return self.weights[g % len(self.weights)]

    def results(self) -> list[str]:
        """Where the sums go, in the order of ``sums``: registers, then pixels."""
        outputs = self.kernel.outputs
        return [
            f"[{_OUT}, #{base + 16 * r}]" for r in range(self.kernel.registers) for base in outputs
        ]

    def store(self) -> Iterator[str]:
        yield from (f"str q{n}, {at}" for n, at in zip(self.sums, self.results(), strict=True))

    def clear(self, registers: Iterable[int]) -> Iterator[str]:
        yield from (f"movi v{n}.16b, #0" for n in registers)


def constant(register: str, value: int) -> Iterator[str]:
    """``register`` becomes ``value``, of at most 32 bits."""
    yield f"mov {register}, #{value & 0xFFFF}"
    if value >> 16:
        yield f"movk {register}, #{value >> 16}, lsl #16"
