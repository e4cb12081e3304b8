"""Build a choice, compare its results with the plain loops, and time it.

Values are small multiples of powers of two, so that sums are exact in float32 in any order, and
results must be equal bit for bit. Everything here runs in the calling process; :mod:`.worker` is
the process that may crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from abc_tvm.records.task import Task
    from abc_tvm.relay_passes.emit.frame import Lowered

ROUND_MS = 2
"""Least time of one round: short calls are repeated."""

MULTIPLES = 8
"""Float operands are whole multiples of 1/MULTIPLES of a power of two."""


class WrongResult(Exception):
    """A candidate whose results differ from the plain loops."""


@dataclass
class Built:
    """A compiled kernel with its operands, here or behind an RPC session.

    ``shapes`` are those of its results, which are the last of ``tensors``; ``place`` is TVM's
    device. Behind a session every look-up is a message there and back, so they are kept.
    """

    run: Any
    tensors: list[Any]
    shapes: list[tuple[int, ...]]
    place: Any
    _timers: dict[int, Any] = field(default_factory=dict)

    def outputs(self) -> list[np.ndarray]:
        """The results of one call."""
        self.run["main"](*self.tensors)
        arrays = [tensor.numpy() for tensor in self.tensors[-len(self.shapes) :]]
        return [a.reshape(shape) for a, shape in zip(arrays, self.shapes, strict=True)]

    def seconds(self, rounds: int = 1) -> tuple[float, ...]:
        """Seconds of one call in each round: the mean of as many as take :data:`ROUND_MS`."""
        timer = self._timers.get(rounds)
        if timer is None:
            timer = self.run.time_evaluator(
                "main", self.place, number=1, repeat=rounds, min_repeat_ms=ROUND_MS
            )
            self._timers[rounds] = timer
        return tuple(float(s) for s in timer(*self.tensors).results)


def compare(computed: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Raises ``WrongResult`` where any bit differs."""
    for number, (a, b) in enumerate(zip(computed, expected, strict=True)):
        if a.shape != b.shape or a.tobytes() != b.tobytes():
            wrong = int(np.sum(a != b)) if a.shape == b.shape else a.size
            raise WrongResult(f"{wrong} of {b.size} elements of result {number} differ")


def in_turns(
    kernels: list[Built], rounds: int, before: Callable[[], None] = lambda: None
) -> list[tuple[float, ...]]:
    """Seconds of each kernel in each round; the kernels take turns.

    ``before`` is called before each measurement.
    """
    if len(kernels) == 1 and rounds:
        before()
        return [kernels[0].seconds(rounds)]
    times: list[list[float]] = [[] for _ in kernels]
    for _ in range(rounds):
        for kernel, mine in zip(kernels, times, strict=True):
            before()
            mine += kernel.seconds()
    return [tuple(mine) for mine in times]


class Bench:
    """Builds and checks the choices of one task."""

    def __init__(self, task: Task, device: Device) -> None:
        self.task, self.device = task, device
        self._expected: list[np.ndarray] | None = None

    def expected(self) -> list[np.ndarray]:
        """Results of the plain loops on the processor, compiled without any schedule."""
        if self._expected is None:
            host = replace(self.device, gpu=None)
            self._expected = self._compile(self.task.workload.plain, host).outputs()
        return self._expected

    def build(self, choice: Choice) -> Built:
        """Compile and check. Raises ``WrongResult``."""
        built = self._compile(self.task.workload.lowered(self.device, choice), self.device)
        compare(built.outputs(), self.expected())
        return built

    def _compile(self, lowered: Lowered, device: Device) -> Built:
        import tvm

        inputs = operands(lowered, self.task.workload.problem.window)
        run = compiled(lowered, device).jit()
        place = tvm.cpu() if device.gpu is None else tvm.cuda()
        tensors = [tvm.runtime.tensor(a, place) for a in inputs]
        return Built(run, tensors, shapes(lowered), place)


def compiled(lowered: Lowered, device: Device) -> Any:
    """Machine code of a kernel, whose function is ``main``."""
    import tvm

    from abc_tvm.relay_passes.tir.stack_buffers import lowering_of
    from abc_tvm.stages import device_code_of

    func = lowered.func.with_attr("global_symbol", "main")
    with device_code_of(device):
        return tvm.compile(func, device.tvm_target(), tir_pipeline=lowering_of(device))


def shapes(lowered: Lowered) -> list[tuple[int, ...]]:
    """The shapes of a kernel's results."""
    return [tuple(int(d) for d in shape) for shape in lowered.shapes]


def operands(lowered: Lowered, window: Window) -> list[np.ndarray]:
    """A value for every argument: random inputs, the layer's constants, empty results.

    Inputs depend on their shapes alone, so that all choices get the same. Bits beyond the last
    channel are 0, as everywhere.
    """
    buffers = list(lowered.func.params)
    tensors = len(buffers) - len(lowered.constants) - len(lowered.results)
    rng = np.random.default_rng(1)
    made = [_random(rng, b, window) for b in buffers[:tensors]]
    made += [coarse(constant) for constant in lowered.constants]
    made += [
        np.zeros([int(d) for d in b.shape], str(b.dtype)) for b in buffers[-len(lowered.results) :]
    ]
    return made


def _random(rng: np.random.Generator, buffer: Any, window: Window) -> np.ndarray:
    shape = [int(d) for d in buffer.shape]
    if str(buffer.dtype) != "uint32":
        return rng.integers(-4, 5, shape).astype(str(buffer.dtype))
    bits = rng.integers(0, 2**32, shape, np.uint32)
    used = window.group_in % WORD
    if used and shape[-1] == words(window.group_in):
        bits[..., -1] &= np.uint32(2**used - 1)
    return bits


def coarse(array: np.ndarray) -> np.ndarray:
    """Floats rounded to few bits; integers and infinities as they are."""
    if array.dtype.kind != "f":
        return array
    finite = np.isfinite(array)
    largest = float(np.abs(array[finite]).max(initial=0.0))
    if largest == 0:
        return array
    unit = 2.0 ** np.ceil(np.log2(largest)) / MULTIPLES
    out = array.copy()
    out[finite] = np.rint(array[finite] / unit) * unit
    return out
