"""The levels of a step that an integer accumulator takes."""

from __future__ import annotations

import numpy as np

from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction
from abc_tvm.relay_passes.analysis.weights.accumulator import Accumulator


def reachable_steps(steps: StepFunction, exact: Accumulator) -> StepFunction:
    """``steps`` on integers alone: without levels that no accumulator of any channel takes."""
    count = len(steps.thresholds)
    if count < 2:
        return steps
    at = np.stack([exact.threshold(t) for t in steps.thresholds])
    edges = np.concatenate([-exact.bound[None], at, exact.bound[None] + 1])
    low, high = np.maximum(edges[:-1], -exact.bound), np.minimum(edges[1:], exact.bound + 1)
    size = high - low
    if exact.even:
        first = low + ((low - exact.bound) % 2)
        size = np.maximum(0, (high - first + 1) // 2)
    keep = np.any(size > 0, axis=1)
    forward = steps.sense > 0
    # Level q of a rising channel is level N - q of a falling one.
    used = np.any((size > 0) & forward, axis=1) | np.any((size > 0) & ~forward, axis=1)[::-1]
    if used.sum() == 1:  # a constant has two levels, of which one is never taken
        at_one = int(used.argmax())
        used[at_one - 1 if at_one else 1] = True
    if keep.all() or not used.any() or np.any((size[:, ~forward] > 0) & ~used[::-1, None]):
        return steps
    if used.sum() == 1:  # a step has a threshold, be it one that is never passed
        only = int(np.argmax(used))
        used[only + 1 if only == 0 else only - 1] = True
    return _keep_levels(steps, used)


def _keep_levels(steps: StepFunction, used: np.ndarray) -> StepFunction:
    """The same function on the levels that remain; each keeps its upper border."""
    index = np.nonzero(used)[0]
    rising = steps.sense > 0
    n = len(steps.thresholds)
    upper = steps.thresholds[index[1:] - 1]
    falling = steps.thresholds[n - index[:-1] - 1][::-1]
    thresholds = np.where(rising, upper, falling)
    return StepFunction(thresholds.astype(np.float32), steps.sense, steps.levels[index])
