"""Bit convolutions as kernels for Arm, compiled and run in emulation, against NumPy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import Device
from tests import emulated
from tests.schedules.window_cases import (
    BitCase,
    Counts,
    all_outputs,
    bit_case,
    placeholder,
    symbolic,
)


def plan_of(made: Scheduler, case: BitCase, window: Window) -> Plan:
    pairs = len(case.weights) * case.activations.shape[3]
    return made.plan(window, case.blocking, pairs, "bitserial", len(case.weights))


def counts_of(made: Scheduler) -> Counts:
    """The accumulator of ``made``, for ``window_cases.all_outputs``."""

    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits()]
        inputs = [placeholder("A", operands[0], window.batch)]

        def table(array: np.ndarray, _: str) -> Any:
            operands.append(array)
            inputs.append(placeholder("W", array))
            return inputs[-1]

        plan = plan_of(made, case, window)
        acc = made.family.sums(plan, inputs[0], case.planes(), table)
        return acc, inputs, operands

    return counts


def scheduled_of(made: Scheduler, case: BitCase, tile: Tile | None = None) -> tirx.PrimFunc:
    """A fused kernel with every kind of output, as it is compiled."""
    planned = replace(made, choice=None if tile is None else Choice(tile))
    kernel = all_outputs(case, case.window, counts_of(planned))
    return planned.schedule(plan_of(planned, case, case.window), kernel.func(False))


def check(device: Device, case: BitCase, tile: Tile | None = None, shapes: str = "int32") -> None:
    """Every output of a fused kernel; ``tile`` by default the family's."""
    made = scheduler_of(device, None if tile is None else Choice(tile))
    window = symbolic(case.window) if shapes == "symbolic" else case.window
    kernel = all_outputs(case, window, counts_of(made))
    func = kernel.func(shapes != "int32")
    scheduled = made.schedule(plan_of(made, case, window), func)
    kernel.check(scheduled, run=partial(emulated.call, device=device))


def most(words: int) -> BitCase:
    """Every byte of every step adds 8: the most that there can be."""
    case = bit_case(0, size=(1, 2), channels=(32 * words, 32))
    case.activations[:] = 1
    case.weights[:] = 0
    return case
