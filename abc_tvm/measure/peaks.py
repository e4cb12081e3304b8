"""What one core can do at best: loops that touch registers only, and the proof that they do.

The loops are inline assembly in LLVM IR, because a compiler reorders what it is free to reorder:
from the same instructions in TIR it makes a loop that is 5 % below this one.

:func:`measure` gives the best rate of each kind of arithmetic on one core of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from abc_tvm.targets import Device

Kind = Literal["bitserial", "float", "int8"]
"""Binary pairs (xor and popcount), float32 multiply-adds, dot products of bytes."""

KINDS: tuple[Kind, ...] = get_args(Kind)

STEPS = 5_000
UNROLL = 4
"""Times that the loop body repeats, so that its jump costs nothing."""

CHAINS = 12
"""Independent accumulators (registers 0 to 11): enough to cover every instruction's latency."""

ROUNDS = 12
CALLS = 10
"""Calls a round: about 2 ms, as long as a round of a kernel's measurement."""

BEGIN, END = "# peak loop begins", "# peak loop ends"


@dataclass(frozen=True)
class Peak:
    """A loop over ``CHAINS`` accumulators, each updated by the same few instructions.

    ``link`` are those instructions in AT&T syntax, ``{j}`` the accumulator, ``{x}`` an operand of
    its own; other registers from 12 on hold common operands. One link does ``macs_per_link``
    multiply-accumulates. ``needs``: instruction sets by LLVM's names.
    """

    name: str
    kind: Kind
    needs: frozenset[str]
    macs_per_link: int
    link: tuple[str, ...]
    registers: int = 16

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call."""
        return STEPS * UNROLL * CHAINS * self.macs_per_link

    def build(self, device: Device) -> Callable[[int], float]:
        """Compile, check the machine code, and return a timer: seconds a call, mean of so many.

        Raises ``RuntimeError`` where the loop is not exactly the instructions that it should be.
        """
        import tvm
        from tvm.script import tirx as T

        text = self._llvm(device)

        @T.prim_func(s_tir=True)
        def main(N: T.Buffer((1,), "int64")) -> None:  # type: ignore[valid-type]
            T.func_attr({"tirx.noalias": True, "global_symbol": "main"})
            T.attr(0, "pragma_import_llvm", text)
            T.evaluate(T.call_extern("int32", "abc_peak_loop", N[0]))

        module = tvm.compile(main, device.tvm_target())
        self._check(str(getattr(module, "mod", module).inspect_source("asm")))
        jit = module.jit()
        steps = tvm.runtime.tensor(np.array([STEPS], np.int64))

        def timer(number: int) -> float:
            run = jit.time_evaluator("main", tvm.cpu(), number=number, repeat=1)
            return float(run(steps).results[0])

        return timer

    def _instructions(self) -> Iterator[str]:
        for j in list(range(CHAINS)) * UNROLL:
            for instruction in self.link:
                yield instruction.format(j=j, x=CHAINS + j)

    def _llvm(self, device: Device) -> str:
        # Zeros, because what registers happen to hold may be slow floats (denormals).
        xor = "vpxord" if self.registers > 16 else "vpxor"
        clear = [f"{xor} %xmm{j}, %xmm{j}, %xmm{j}" for j in range(self.registers)]
        body = "\\0A".join([*clear, "1:", BEGIN, *self._instructions(), END, "decq $0", "jnz 1b"])
        clobbers = ",".join(f"~{{xmm{j}}}" for j in range(self.registers))
        return f"""
            define i32 @abc_peak_loop(i64 %n) #0 {{
              %r = call i64 asm sideeffect "{body}", "=r,0,{clobbers},~{{flags}}"(i64 %n)
              ret i32 0
            }}
            attributes #0 = {{
              noinline "target-cpu"="{device.cpu}" "target-features"="{",".join(device.features)}"
            }}
        """

    def _check(self, assembly: str) -> None:
        loop = assembly[assembly.find(BEGIN) : assembly.find(END)].splitlines()[1:]
        instructions = [_plain(line) for line in loop if line.strip()]
        if instructions != [_plain(line) for line in self._instructions()]:
            raise RuntimeError(f"the loop for {self.name} is not register-only: {instructions}")


def _plain(instruction: str) -> list[str]:
    """Mnemonic and operands; sorted, because the assembler may swap two sources."""
    return sorted(instruction.replace(",", " ").split())


_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = frozenset({"avx512f", "avx512bw"})

BITS_512 = Peak(
    "xor + popcount + add, 512 bit",
    "bitserial",
    _AVX512 | {"avx512vpopcntdq"},
    512,
    (
        "vpxord %zmm30, %zmm{x}, %zmm31",
        "vpopcntd %zmm31, %zmm31",
        "vpaddd %zmm31, %zmm{j}, %zmm{j}",
    ),
    registers=32,
)
SHUFFLE_256 = Peak(
    "byte shuffle + add, 256 bit",
    "bitserial",
    _AVX2,
    128,
    ("vpshufb %ymm12, %ymm13, %ymm14", "vpaddb %ymm14, %ymm{j}, %ymm{j}"),
)
FMA_512 = Peak("f32 FMA, 512 bit", "float", _AVX512, 16, ("vfmadd231ps %zmm12, %zmm13, %zmm{j}",))
FMA_256 = Peak("f32 FMA, 256 bit", "float", _AVX2, 8, ("vfmadd231ps %ymm12, %ymm13, %ymm{j}",))
DOT_512 = Peak(
    "u8 x s8 dot, 512 bit",
    "int8",
    _AVX512 | {"avx512vnni"},
    64,
    ("vpdpbusd %zmm12, %zmm13, %zmm{j}",),
)
DOT_256 = Peak(
    "u8 x s8 dot, 256 bit",
    "int8",
    frozenset({"avx512vnni", "avx512vl"}),
    32,
    ("vpdpbusd %ymm12, %ymm13, %ymm{j}",),
)
DOT_256_VEX = Peak(
    "u8 x s8 dot, 256 bit, AVX-VNNI",
    "int8",
    frozenset({"avxvnni"}),
    32,
    ("{{vex}} vpdpbusd %ymm12, %ymm13, %ymm{j}",),
)
PEAKS = (BITS_512, SHUFFLE_256, FMA_512, FMA_256, DOT_512, DOT_256, DOT_256_VEX)


def loops(device: Device) -> list[Peak]:
    """The loops that ``device`` has the instructions for; none but x86 processors have any."""
    from tvm.target import codegen

    if device.gpu is not None or not device.triple.startswith("x86_64"):
        return []
    there = {str(name) for name in codegen.llvm_get_cpu_features(device.tvm_target())}
    return [peak for peak in PEAKS if peak.needs <= there]


def measure(device: Device) -> dict[str, float | None]:
    """GMAC/s of one core by kind of arithmetic: the best loop's best round, in half a second.

    The loops are those of ``device``'s instructions, run on this machine; ``None`` where there is
    no loop for a kind, or this machine does not execute it.
    """
    best: dict[str, float | None] = dict.fromkeys(KINDS)
    if not device.runs_here():
        return best
    for peak in loops(device):
        timer = peak.build(device)
        timer(CALLS)  # the clock gets used to wide vectors
        rate = peak.macs / min(timer(CALLS) for _ in range(ROUNDS)) / 1e9
        best[peak.kind] = max(best[peak.kind] or 0.0, rate)
    return best
