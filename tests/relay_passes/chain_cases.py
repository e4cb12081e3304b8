"""Chains of element-wise operators as functions of bounds, and their steps float by float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from abc_tvm.relay_passes.analysis.pointwise import TABLE, Bounds
from abc_tvm.relay_passes.analysis.steps.find_steps import find_steps
from abc_tvm.relay_passes.analysis.steps.float_order import from_key, to_key
from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction

Chain = Callable[[Bounds], Bounds]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MODERATE = st.floats(-8, 8, width=32)
SCALE = MODERATE.filter(lambda gamma: gamma == 0 or abs(gamma) > 2.0**-60)
"""Thresholds are searched up to 2**100: smaller scales would move them beyond."""

SPECIAL = np.float32(
    [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, -1.1754944e-38, 1, -1, 2.0**100, -(2.0**100)]
)


def chain_of(*parts: Any) -> Chain:
    """Operators ``(name, operand, ...)`` one after another; the running value is ``None``."""

    def run(x: Bounds) -> Bounds:
        for name, *operands in parts:
            args = [x if o is None else (np.float32(o), np.float32(o)) for o in operands]
            x = TABLE[name].bounds(*args)
        return x

    return run


def sign_of(gamma: Any, beta: Any) -> Chain:
    return chain_of(("multiply", None, gamma), ("add", None, beta), ("sign", None))


def brute(chain: Chain, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(chain((x, x))[0], np.float32)


def around(steps: StepFunction) -> np.ndarray:
    """``[P, C]``: every threshold, its four neighbours on both sides, and special values."""
    finite = steps.thresholds[np.isfinite(steps.thresholds)]
    keys = to_key(finite)[:, None] + np.arange(-4, 5)
    top = to_key(np.float32(2.0**100))
    points = from_key(np.clip(keys.reshape(-1), -top - 1, top))
    points = np.concatenate([points, SPECIAL])
    return np.repeat(points[:, None], steps.thresholds.shape[1], 1).astype(np.float32)


def assert_exact(chain: Chain, channels: int = 1, **options: Any) -> StepFunction:
    steps = find_steps(chain, channels, **options)
    x = around(steps)
    np.testing.assert_array_equal(steps(x), brute(chain, x))
    return steps
