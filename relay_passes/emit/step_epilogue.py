"""What a kernel makes of a step function: float levels, or comparisons that an encoding writes.

Values that a step compares are integers where the kernel's own convolution has them (its sums then
compare themselves with ``abc.count_step``'s ``T``), and floats elsewhere.
"""

from __future__ import annotations

import numpy as np
from tvm import relax, tirx
from tvm.ir import Expr

from abc_tvm.compute.lanes import Blocking, Index, Passes, Scalar
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.rewrite import array_of

from .frame import Frame


def _limits(thresholds: np.ndarray, blocking: Blocking) -> np.ndarray:
    """Thresholds ``[N, C]`` by slot: NaN, which nothing reaches, where there are none.

    In slots without a channel an operator may make infinity of the padding (``1 / x`` does).
    """
    never = np.where(thresholds == np.inf, np.nan, thresholds)
    return blocking.spread(never.astype(np.float32), np.nan)


def levels_of(frame: Frame, call: relax.Call) -> Scalar:
    """The float levels of a step, where something reads them as floats."""
    blocking = frame.blocking
    steps = steps_of(call)
    data = frame.operand(call.args[0])
    thresholds = frame.table(_limits(steps.thresholds, blocking), "t")
    turned = steps.sense < 0
    both = np.where(turned[None], steps.levels[::-1, None], steps.levels[:, None])
    levels = frame.table(blocking.spread(both.astype(np.float32)), "level")

    def value(index: Index) -> Expr:
        slot = blocking.slot(index)
        x = data(index)
        out = levels[0, slot]
        for p in range(len(steps.thresholds)):
            out = tirx.Select(x >= thresholds[p, slot], levels[p + 1, slot], out)
        return out

    return value


def passes_of(frame: Frame, call: relax.Call, turned: np.ndarray | None = None) -> Passes:
    """Comparison with the thresholds of an encoding's step; those of ``turned`` channels reversed.

    ``call``: ``(x, thresholds, sense)``, with the float thresholds fourth where ``count`` says that
    ``thresholds`` are integers for the sums of ``x``.
    """
    thresholds = array_of(call.args[1])
    wants_count = bool(int(call.attrs["count"]))
    counted = wants_count and call.args[0] in frame.sums
    if wants_count and not counted:
        thresholds = array_of(call.args[3])
    if turned is not None:
        thresholds = np.where(turned[None], thresholds[::-1], thresholds)
    if counted:
        return frame.sums[call.args[0]].passes(thresholds)
    data, blocking = frame.operand(call.args[0]), frame.blocking
    table = frame.table(_limits(thresholds, blocking), "t")
    return lambda p, index: data(index) >= table[p, blocking.slot(index)]
