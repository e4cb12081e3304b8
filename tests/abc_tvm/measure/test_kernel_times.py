"""Kernels timed inside runs: which calls count, and what the stopwatch takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from abc_tvm.measure import kernel_times, timing
from abc_tvm.measure.kernel_times import NOTHING, Stopwatch, Timed, time_kernels
from abc_tvm.measure.timing import Times

X = np.zeros((2, 3), np.float32)
CALLS = (
    ("vm.builtin.alloc_storage", 50),
    ("kernel_conv", 1000),
    (NOTHING, 100),
    ("reshape", 300),
    ("kernel_conv", 40),
)
"""One run: symbols, and nanoseconds that each call takes."""


class Machine:
    """A virtual machine whose clock is its own; every run calls ``CALLS`` on ``arguments``."""

    def __init__(self) -> None:
        self.now, self.runs = 0, 0
        self.arguments: tuple[Any, ...] = (X, np.zeros((4,), np.int8), "a shape", 7)
        self.watch: Callable[..., None] | None = None

    def set_instrument(self, watch: Callable[..., None]) -> None:
        self.watch = watch

    def run(self, inputs: dict[str, np.ndarray]) -> None:
        self.runs += 1
        for symbol, span in CALLS:
            if self.watch is not None:
                self.watch(None, symbol, True, None, *self.arguments)
            self.now += span
            if self.watch is not None:
                self.watch(None, symbol, False, None, *self.arguments)


def session(machine: Machine) -> Any:
    return SimpleNamespace(machine=machine, run=machine.run)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Its clock is the one of the stopwatch; nothing pauses."""
    made = Machine()
    seconds = itertools.count(0.0, 0.002)
    clock = SimpleNamespace(perf_counter_ns=lambda: made.now, perf_counter=lambda: next(seconds))
    monkeypatch.setattr(kernel_times, "time", clock)
    monkeypatch.setattr(timing, "WARM_S", 0.0)
    monkeypatch.setattr(timing, "PAUSE_S", 0.0)
    return made


def test_functions_of_the_machine_are_no_kernels(machine: Machine) -> None:
    watch = Stopwatch(machine)
    assert watch.run(session(machine), {}) == [1000, 300, 40]
    assert watch.symbols == ["kernel_conv", "reshape", "kernel_conv"]
    assert watch.sizes == [24 + 4] * 3, "tensors alone have bytes"
    assert watch.nothing == [100]


def test_a_later_run_tells_spans_alone(machine: Machine) -> None:
    watch = Stopwatch(machine)
    watch.run(session(machine), {})
    assert watch.run(session(machine), {}) == [1000, 300, 40]
    assert len(watch.symbols) == len(watch.sizes) == 3
    assert watch.nothing == [100, 100]
    watch.clear()
    assert watch.spans == [] and len(watch.symbols) == 3


def test_what_the_stopwatch_takes_is_subtracted(machine: Machine) -> None:
    """Of a kernel that takes less than a call of nothing, 0 is left."""
    plain = Machine()
    run, calls = time_kernels(session(plain), session(machine), {"x": X}, 3)
    assert [(call.symbol, call.bytes) for call in calls] == [
        ("kernel_conv", 28), ("reshape", 28), ("kernel_conv", 28),
    ]  # fmt: skip
    medians = [call.times.median_ms for call in calls]
    assert medians == pytest.approx([900e-6, 200e-6, 0.0])
    assert {call.times.repeat for call in calls} == {run.repeat} == {3}
    assert run.median_ms == pytest.approx(2.0), "of the session without a stopwatch"
    assert plain.watch is None and plain.runs >= 6


def test_a_machine_that_never_does_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.CALLS", (("kernel_a", 10),))
    _, calls = time_kernels(session(Machine()), session(machine), {"x": X}, 1)
    assert [call.times.median_ms for call in calls] == pytest.approx([10e-6])


def test_what_is_fused() -> None:
    times = Times.of([1.0])
    assert Timed("kernel_conv", 1, times).fused
    assert not Timed("reshape", 1, times).fused and not Timed("my_kernel_", 1, times).fused


@pytest.mark.parametrize(
    ("value", "size"),
    [(X, 24), (np.zeros((), np.float64), 8), (np.zeros((0, 5), np.int8), 0), ("text", 0), (3, 0)],
)
def test_bytes(value: Any, size: int) -> None:
    assert kernel_times._bytes(value) == size
