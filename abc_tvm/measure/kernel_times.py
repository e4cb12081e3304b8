"""How long each kernel of a network takes inside a real run.

TVM's virtual machine calls a function of ours before and after everything that it calls. So every
kernel is timed in its place, on its real inputs, with the caches as the kernel before left them.
What the stopwatch itself takes is what it shows for a call that does nothing, and is subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from abc_tvm.measure.kernel_plan import PREFIX
from abc_tvm.measure.timing import Times, alternate, warm_up
from abc_tvm.runtime import Session

BUILTIN = "vm."
"""Beginning of the names of the virtual machine's own functions."""

NOTHING = "vm.builtin.null_value"
"""A call that does nothing: the machine makes one wherever a tensor ends."""


@dataclass(frozen=True)
class Timed:
    """One kernel call: its symbol, the bytes of all its tensors, and its times in a run."""

    symbol: str
    bytes: int
    times: Times

    @property
    def fused(self) -> bool:
        """Whether this is a kernel of :class:`abc_tvm.measure.kernel_plan.NetworkPlan`."""
        return self.symbol.startswith(PREFIX)


class Stopwatch:
    """The function that the virtual machine calls; one is for one machine."""

    def __init__(self, machine: Any) -> None:
        self.spans: list[int] = []
        self.symbols: list[str] = []
        self.sizes: list[int] = []
        self.nothing: list[int] = []
        self._first = True
        self._start = 0
        machine.set_instrument(self._call)

    def clear(self) -> None:
        """Forget the spans, keep what each call is."""
        self.spans.clear()

    def _call(self, _: Any, symbol: str, before: bool, __: Any, *args: Any) -> None:
        if before:
            if self._first and not symbol.startswith(BUILTIN):
                self.symbols.append(symbol)
                self.sizes.append(sum(_bytes(arg) for arg in args))
            self._start = time.perf_counter_ns()
            return
        span = time.perf_counter_ns() - self._start
        if not symbol.startswith(BUILTIN):
            self.spans.append(span)
        elif symbol == NOTHING:
            self.nothing.append(span)

    def run(self, session: Session, inputs: Mapping[str, np.ndarray]) -> list[int]:
        """Nanoseconds of every kernel in one run."""
        self.clear()
        session.run(inputs)
        self._first = False
        return list(self.spans)


def time_kernels(
    session: Session, watched: Session, inputs: Mapping[str, np.ndarray], repeat: int
) -> tuple[Times, tuple[Timed, ...]]:
    """Time whole runs of ``session`` and every kernel of ``watched``, in turns.

    Both are sessions of the same artifact; ``watched`` gets a stopwatch, which its runs as a whole
    are slowed by. Returns the times of whole runs, and the kernels in the order of their calls.
    """
    watch = Stopwatch(watched.machine)
    watch.run(watched, inputs)
    rounds: list[list[int]] = []

    def whole() -> float:
        warm_up(lambda: session.run(inputs))
        start = time.perf_counter()
        session.run(inputs)
        return (time.perf_counter() - start) * 1e3

    def kernels() -> float:
        warm_up(lambda: watch.run(watched, inputs))
        rounds.append(watch.run(watched, inputs))
        return sum(rounds[-1]) / 1e6

    run = alternate({"whole": whole, "kernels": kernels}, repeat)["whole"]
    itself = int(median(watch.nothing)) if watch.nothing else 0
    spans = np.maximum(np.array(rounds, np.int64).T - itself, 0) / 1e6
    return run, tuple(
        Timed(symbol, size, Times.of([float(ms) for ms in row]))
        for symbol, size, row in zip(watch.symbols, watch.sizes, spans, strict=True)
    )


def _bytes(value: Any) -> int:
    """Size of a tensor; 0 of anything else."""
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return 0
    return (
        int(np.prod([int(d) for d in value.shape], dtype=np.int64))
        * np.dtype(str(value.dtype)).itemsize
    )
