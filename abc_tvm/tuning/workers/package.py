"""A candidate that was built here for another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from abc_tvm.schedules.choice import Choice
from abc_tvm.targets import Device
from abc_tvm.tuning.measure import compiled, operands, shapes

if TYPE_CHECKING:
    from abc_tvm.records.task import Task


@dataclass
class Package:
    """A shared library with the function ``main``, its operands, and its results' shapes.

    The results are the last of ``operands``.
    """

    library: bytes
    operands: list[np.ndarray]
    shapes: list[tuple[int, ...]]


def package(task: Task, device: Device, choice: Choice | None) -> Package:
    """Cross-compile and link a choice of a task; ``None`` is the plain loops.

    Raises:
        MissingDependencyError: There is no linker for the device.
    """
    from abc_tvm.stages import link

    workload = task.workload
    lowered = workload.plain if choice is None else workload.lowered(device, choice)
    library = link(compiled(lowered, device), device)
    return Package(library, operands(lowered, workload.problem.window), shapes(lowered))
