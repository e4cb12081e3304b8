"""Build a choice, compare its results with the plain loops, and time it.

Values are small multiples of powers of two, so that sums are exact in float32 in any order, and
results must be equal bit for bit. Everything runs in this process: a build takes a tenth of a
second, where a worker process would import for longer than that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from abc_tvm.relay_passes.kernel import Lowered

    from .task import Task

ROUND_S = 2e-3
"""Least time of one round: short calls are repeated."""

STEPS = 8
"""Float operands are whole multiples of 1/STEPS of a power of two."""


class WrongResult(Exception):
    """A candidate whose results differ from the plain loops."""


@dataclass
class Built:
    """A compiled kernel with its operands; call :meth:`round` to time it."""

    run: Any
    tensors: list[Any]
    place: Any
    number: int = 1

    def round(self) -> float:
        """Seconds of one call, the mean of ``number``."""
        timer = self.run.time_evaluator("main", self.place, number=self.number, repeat=1)
        return float(timer(*self.tensors).results[0])


class Bench:
    """Measures the choices of one task."""

    def __init__(self, task: Task, device: Device) -> None:
        self.task, self.device = task, device
        self._expected: list[np.ndarray] | None = None

    def expected(self) -> list[np.ndarray]:
        """Results of the plain loops, compiled without any schedule."""
        if self._expected is None:
            host = replace(self.device, gpu=None)
            built, inputs = self._compile(self.task.workload.plain, host)
            self._expected = self._results(built, inputs, self.task.workload.plain)
        return self._expected

    def build(self, choice: Choice) -> Built:
        """Compile and check. Raises ``WrongResult``."""
        lowered = self.task.workload.lowered(self.device, choice)
        built, inputs = self._compile(lowered, self.device)
        found = self._results(built, inputs, lowered)
        for number, (a, b) in enumerate(zip(found, self.expected(), strict=True)):
            if a.shape != b.shape or a.tobytes() != b.tobytes():
                wrong = int(np.sum(a != b)) if a.shape == b.shape else a.size
                raise WrongResult(f"{wrong} of {b.size} elements of result {number} differ")
        once = built.round()
        built.number = max(1, round(ROUND_S / max(once, 1e-7)))
        return built

    def seconds(self, built: Built, rounds: int) -> tuple[float, ...]:
        return tuple(built.round() for _ in range(rounds))

    def _compile(self, lowered: Lowered, device: Device) -> tuple[Built, list[np.ndarray]]:
        import tvm

        from abc_tvm.stages import device_code_of

        func = lowered.func.with_attr("global_symbol", "main")
        with device_code_of(device):
            run = tvm.compile(func, device.tvm_target()).jit()
        inputs = operands(lowered, self.task.workload.layer.window)
        place = tvm.cpu() if device.gpu is None else tvm.cuda()
        return Built(run, [tvm.runtime.tensor(a, place) for a in inputs], place), inputs

    def _results(
        self, built: Built, inputs: list[np.ndarray], lowered: Lowered
    ) -> list[np.ndarray]:
        built.run["main"](*built.tensors)
        count = len(lowered.results)
        found = [tensor.numpy() for tensor in built.tensors[len(inputs) - count :]]
        return [
            a.reshape([int(d) for d in shape])
            for a, shape in zip(found, lowered.shapes, strict=True)
        ]


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
    unit = 2.0 ** np.ceil(np.log2(largest)) / STEPS
    out = array.copy()
    out[finite] = np.rint(array[finite] / unit) * unit
    return out
