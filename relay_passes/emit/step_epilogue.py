"""What a kernel makes of a step function: float levels, or comparisons that an encoding writes.

Values that a step compares are integers where the kernel's own convolution has them (its sums then
compare themselves with ``abc.count_step``'s ``T``), and floats elsewhere. Many thresholds at about
even distances are counted by arithmetic (:mod:`.even_steps`), others are compared one by one.
"""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.lanes import Blocking, Index, Passes, Scalar
from abc_tvm.relay_passes.analysis.steps.even_steps import EvenSteps, even_steps
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.rewrite import array_of

from .frame import Frame, SumsMeaning


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
    even = even_steps(steps.thresholds)
    if even is not None:
        reaches = _reaches(data, thresholds, blocking)
        count = _counted(frame, even, data, reaches)
        return lambda index: levels[count[index], blocking.slot(index)]

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
    sums, thresholds = _compared(frame, call)
    if turned is not None:
        thresholds = np.where(turned[None], thresholds[::-1], thresholds)
    if sums is not None:
        return sums.passes(thresholds)
    table = frame.table(_limits(thresholds, frame.blocking), "t")
    return _reaches(frame.operand(call.args[0]), table, frame.blocking)


def count_of(frame: Frame, call: relax.Call) -> Scalar:
    """int32: how many thresholds of an encoding's step a value passes; ``call`` as above."""
    passes = passes_of(frame, call)
    sums, thresholds = _compared(frame, call)
    even = even_steps(thresholds)
    one, zero = tirx.const(1, "int32"), tirx.const(0, "int32")
    if even is not None:
        data = frame.operand(call.args[0]) if sums is None else sums.whole_value
        count = _counted(frame, even, data, passes)
        return lambda index: count[index]

    def total(index: Index) -> Expr:
        number = zero
        for p in range(len(thresholds)):
            number = number + tirx.Select(passes(p, index), one, zero)
        return number

    return total


def _compared(frame: Frame, call: relax.Call) -> tuple[SumsMeaning | None, np.ndarray]:
    """The kernel's own sums, where these are compared, and the thresholds."""
    if not int(call.attrs["count"]):
        return None, array_of(call.args[1])
    if call.args[0] in frame.sums:
        return frame.sums[call.args[0]], array_of(call.args[1])
    return None, array_of(call.args[3])


def _reaches(data: Scalar, table: te.Tensor, blocking: Blocking) -> Passes:
    return lambda p, index: data(index) >= table[p, blocking.slot(index)]


def _counted(frame: Frame, even: EvenSteps, data: Scalar, passes: Passes) -> te.Tensor:
    """The number of thresholds passed, by :mod:`.even_steps`: two stages."""
    scale, offset = (frame.per_slot(v, "even") for v in (even.scale, even.offset))
    low, high = (_number(frame, v) for v in (even.low, even.high))

    def guess(index: Index) -> Expr:
        line = data(index).astype("float32") * scale(index) + offset(index)
        # Of what is no number the lower bound: it is the second operand.
        bounded = tirx.min(tirx.max(line, low(index)), high(index))
        return bounded.astype("int32")

    first = frame.stage(guess)
    one, zero = tirx.const(1, "int32"), tirx.const(0, "int32")
    return frame.stage(
        lambda index: first[index] + tirx.Select(passes(first[index], index), one, zero)
    )


def _number(frame: Frame, values: np.ndarray) -> Scalar:
    """A float for each channel, or for all of them."""
    if np.all(values == values[0]):
        number = tirx.const(float(values[0]), "float32")
        return lambda index: number
    return frame.per_slot(values.astype(np.float32), "bound")
