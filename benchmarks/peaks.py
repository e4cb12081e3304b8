"""What one core can do at best: loops that touch registers only, and the proof that they do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm.script import tirx as T

CHAINS = 14
"""Independent accumulators, enough to cover the latency of the slowest instruction."""

STEPS = 20_000


@dataclass(frozen=True)
class Peak:
    """A loop of ``CHAINS`` independent chains of the same few instructions.

    ``mnemonics`` is what one link of a chain must compile to; ``lanes`` elements of ``dtype`` a
    register, each worth ``macs_per_lane`` multiply-accumulates (32 binary ones a word, 4 a nibble).
    """

    name: str
    cpu: str
    dtype: str
    lanes: int
    macs_per_lane: int
    mnemonics: tuple[str, ...]
    chains: int
    link: Callable[[Any, Any], Any]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call."""
        return STEPS * self.chains * self.lanes * self.macs_per_lane

    def build(self) -> Callable[[int], float]:
        """Compile, check the machine code, and return its timer: seconds of one call, mean of so many.

        Raises ``RuntimeError`` where the loop is not the instructions that it should be.
        """
        dtype, lanes, chains, link = self.dtype, self.lanes, self.chains, self.link

        @T.prim_func(s_tir=True)
        def main(W: T.Buffer((lanes,), dtype), Y: T.Buffer((chains, lanes), dtype)) -> None:
            T.func_attr({"tirx.noalias": True, "global_symbol": "main"})
            for _ in range(STEPS):
                for j in T.unroll(chains):
                    Y[j, T.ramp(0, 1, lanes)] = link(
                        Y[j, T.ramp(0, 1, lanes)], W[T.ramp(0, 1, lanes)]
                    )

        target = tvm.target.Target({"kind": "llvm", "mcpu": self.cpu})
        module = tvm.compile(main, target)
        self._check(assembly(module))
        jit = module.jit()
        values = [np.full(lanes, 1, dtype), np.ones((chains, lanes), dtype)]
        tensors = [tvm.runtime.tensor(value) for value in values]

        def timer(number: int) -> float:
            run = jit.time_evaluator("main", tvm.cpu(), number=number, repeat=1)
            return float(run(*tensors).results[0])

        return timer

    def _check(self, text: str) -> None:
        loop = hot_loop(text, self.mnemonics[-1])
        used = [line.split()[0] for line in loop]
        counts = {used.count(name) for name in self.mnemonics}
        touched = [line for line in loop if "(" in line and not line.startswith("lea")]
        if len(counts) != 1 or counts.pop() % self.chains or touched:
            raise RuntimeError(f"the loop for {self.name} is not register-only: {loop}")


def assembly(module: Any) -> str:
    """The machine code of a compiled module as text."""
    return str(getattr(module, "mod", module).inspect_source("asm"))


def hot_loop(text: str, mnemonic: str) -> list[str]:
    """The instructions of the loop with most of ``mnemonic``, from its label to its jump back."""
    best: list[str] = []
    lines = [line.strip() for line in text.splitlines()]
    places = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"\.LBB\w+:", line)}
    for end, line in enumerate(lines):
        jump = re.fullmatch(r"j\w+\s+(\.LBB\w+)", line)
        if jump and places.get(jump[1], end) < end:
            body = [x for x in lines[places[jump[1]] : end] if x and not x.startswith((".", "#"))]
            if sum(x.startswith(mnemonic) for x in body) > sum(
                x.startswith(mnemonic) for x in best
            ):
                best = body
    return best


def _xor_popcount_add(y: Any, w: Any) -> Any:
    return y + T.popcount(y ^ w)


def _fma(y: Any, w: Any) -> Any:
    return y * w + w


def _shuffle_add(y: Any, w: Any) -> Any:
    return y + T.call_llvm_pure_intrin("uint8x32", "llvm.x86.avx2.pshuf.b", w, y)


POPCOUNT = ("vpxord", "vpopcntd", "vpaddd")
FMA = ("vfmadd213ps",)
SHUFFLE = ("vpshufb", "vpaddb")

BITS_512 = Peak(
    "xor + popcount + add, 512 bit", "znver4", "int32", 16, 32, POPCOUNT, CHAINS, _xor_popcount_add
)
FMA_512 = Peak("f32 FMA, 512 bit", "znver4", "float32", 16, 1, FMA, CHAINS, _fma)
FMA_256 = Peak("f32 FMA, 256 bit", "haswell", "float32", 8, 1, FMA, 12, _fma)
SHUFFLE_256 = Peak(
    "byte shuffle + add, 256 bit", "haswell", "uint8", 32, 4, SHUFFLE, 12, _shuffle_add
)
