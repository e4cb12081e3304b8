"""Convolutions as CUDA kernels, run in emulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import te

from abc_tvm import stages, targets
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.cuda.space import CudaChoice
from abc_tvm.schedules.cuda.tiles import BlockTile
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.problem import Problem
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from tests.cuda_emulation import emulation
from tests.schedules.window_cases import BitCase, Counts, placeholder

Run = Callable[[Any, list[np.ndarray]], list[np.ndarray]]


def kernels(tile: BlockTile | None = None, name: str = "cuda-sm80") -> Scheduler:
    """Kernels with one tile; by default what the rule says."""
    return scheduler_of(targets.load(name), None if tile is None else CudaChoice(block=tile))


def device_of(made: Scheduler) -> targets.Device:
    assert isinstance(made.machine, targets.Device)
    return made.machine


def scheduled(made: Scheduler, func: Any) -> Any:
    """The tile of a convolution stands in its TE compute, so that any plan will do."""
    problem = Problem(Window(1, 1, 1, 1, 1), Blocking(1), 1, "bitserial")
    return made.schedule(Plan(made.machine, problem, CudaChoice()), func)


def counts_of(made: Scheduler) -> Counts:
    """The accumulator of ``made``, for ``window_cases.all_outputs``."""

    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits()]
        inputs = [placeholder("A", operands[0], window.batch)]

        def table(array: np.ndarray, name: str) -> te.Tensor:
            operands.append(array)
            inputs.append(placeholder("W", array))
            return inputs[-1]

        pairs = len(case.weights) * case.activations.shape[3]
        plan = made.plan(window, case.blocking, pairs, "bitserial", len(case.weights))
        acc = made.family.sums(plan, inputs[0], case.planes(), table)
        return acc, inputs, operands

    return counts


def run_on(made: Scheduler) -> Run:
    """Runs a scheduled kernel on the emulated device."""

    def run(func: Any, arguments: list[np.ndarray]) -> list[np.ndarray]:
        device = device_of(made)
        with stages.device_code_of(device):
            return emulation.call(func, arguments, device.tvm_target())

    return run
