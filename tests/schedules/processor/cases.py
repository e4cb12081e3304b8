"""Sums of a plan, for the tests of nests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import te

from abc_tvm.compute.geometry import Window
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.family import Plan
from tests.schedules.window_cases import BitCase, Counts, placeholder


def sums_of(plan: Plan) -> Counts:
    """The accumulator of a plan's family, for ``window_cases.all_outputs``."""

    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits()]
        inputs = [placeholder("A", operands[0], window.batch)]

        def table(array: np.ndarray, _: str) -> te.Tensor:
            operands.append(array)
            inputs.append(placeholder("W", array))
            return inputs[-1]

        planned = replace(plan, problem=replace(plan.problem, window=window))
        acc = family_of(plan.machine).sums(planned, inputs[0], case.planes(), table)
        return acc, inputs, operands

    return counts
