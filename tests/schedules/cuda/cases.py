"""Convolutions as CUDA kernels, run in emulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import te

from abc_tvm import stages, targets
from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.schedules.cuda.kernels import CudaKernels
from abc_tvm.schedules.cuda.tiles import BlockTile
from tests.cuda_emulation import emulation
from tests.schedules.window_cases import BitCase, Counts, placeholder

Run = Callable[[Any, list[np.ndarray]], list[np.ndarray]]


def kernels(tile: BlockTile | None = None, name: str = "cuda-sm80") -> CudaKernels:
    return CudaKernels(targets.load(name), tile)


def counts_of(made: CudaKernels) -> Counts:
    """The accumulator of ``made``, for ``window_cases.all_outputs``."""

    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits()]
        inputs = [placeholder("A", operands[0], window.batch)]

        def table(array: np.ndarray, name: str) -> te.Tensor:
            operands.append(array)
            inputs.append(placeholder("W", array))
            return inputs[-1]

        acc = made.counts(inputs[0], case.planes(), window, case.blocking, Tile(), table)
        return acc, inputs, operands

    return counts


def run_on(made: CudaKernels) -> Run:
    """Runs a scheduled kernel on the emulated device."""

    def run(func: Any, arguments: list[np.ndarray]) -> list[np.ndarray]:
        with stages.device_code_of(made.device):
            return emulation.call(func, arguments, made.device.tvm_target())

    return run
