"""What a kernel makes of a step function: packed bits, codes, or float levels.

Values that a step compares are integers where the kernel's own convolution has them (its sums then
compare themselves with ``abc.count_step``'s ``T``), and floats elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import te, tirx

from abc_tvm.compute import outputs
from abc_tvm.compute.byte_products import code_slots
from abc_tvm.compute.geometry import words
from abc_tvm.compute.lanes import Blocking, Index, Scalar
from abc_tvm.relay_passes.analysis.step_function import steps_of
from abc_tvm.relay_passes.lowerings.bitserial_layout import pack_channels
from abc_tvm.relay_passes.rewrite import array_of

if TYPE_CHECKING:
    from abc_tvm.relay_passes.emit.kernel import KernelBuilder

Passes = Callable[[Any, Index], Any]
"""``passes(p, index)``: whether the value of a slot reaches threshold ``p``."""

Produced = tuple[te.Tensor, tuple[Any, ...]]
"""A result of the kernel and the shape that readers know it by: the same memory."""


def _limits(thresholds: np.ndarray, blocking: Blocking) -> np.ndarray:
    """Thresholds ``[N, C]`` by slot: NaN, which nothing reaches, where there are none.

    In slots without a channel an operator may make infinity of the padding (``1 / x`` does).
    """
    never = np.where(thresholds == np.inf, np.nan, thresholds)
    return blocking.spread(never.astype(np.float32), np.nan)


class StepEpilogue:
    """Emits the results of steps into the kernel of ``builder``."""

    def __init__(self, builder: KernelBuilder) -> None:
        self.builder = builder

    def levels(self, call: Any) -> Scalar:
        """The float levels of a step, where something reads them as floats."""
        builder, blocking = self.builder, self.builder.blocking
        steps = steps_of(call)
        data = builder.operand(call.args[0])
        thresholds = builder.table(_limits(steps.thresholds, blocking), "t")
        turned = steps.sense < 0
        both = np.where(turned[None], steps.levels[::-1, None], steps.levels[:, None])
        levels = builder.table(blocking.spread(both.astype(np.float32)), "level")

        def value(index: Index) -> Any:
            slot = blocking.slot(index)
            x = data(index)
            out = levels[0, slot]
            for p in range(len(steps.thresholds)):
                out = tirx.Select(x >= thresholds[p, slot], levels[p + 1, slot], out)
            return out

        return value

    def bits(self, call: Any) -> Produced:
        """The packed bits of an ``abc.encode``."""
        builder = self.builder
        turned = array_of(call.args[2]) < 0
        binary = str(call.attrs["code"]) == "binary"
        bit = passes = self._passes(call, None if binary else turned)
        flip = None
        if binary:
            bit = self._index_bits(passes, len(array_of(call.args[1])), turned)
        elif turned.any():
            flip = builder.table(pack_channels(turned, builder.blocking), "flip")
        planes = int(call.attrs["planes"])
        name = str(len(builder.tables))
        head = (builder.batch, builder.height, builder.width)
        tensor = outputs.bit_output(name, *head, builder.blocking, bit, planes, flip)
        groups = int(call.attrs["layout_groups"])
        per_group = words(builder.blocking.channels // groups)
        return tensor, (*head, planes, groups, per_group)

    def codes(self, call: Any) -> Produced:
        """The codes of an ``abc.encode_bytes``: the first level's, and a difference a threshold."""
        builder, blocking = self.builder, self.builder.blocking
        turned = array_of(call.args[2]) < 0
        passes = self._passes(call)
        codes = np.array([int(n) for n in call.attrs["codes"]], np.int32)
        steps = np.diff(codes)
        first: Any = tirx.const(int(codes[0]), "int32")
        rising = [tirx.const(int(n), "int32") for n in steps]
        table = start = None
        if turned.any():
            edge = np.where(turned, codes[-1], codes[0]).astype(np.int32)
            start = builder.per_slot(edge, "start")
            both = np.where(turned[None], -steps[::-1, None], steps[:, None]).astype(np.int32)
            table = builder.table(blocking.spread(both), "rise")
        zero = tirx.const(0, "int32")

        def code(index: Index) -> Any:
            total = first if start is None else start(index)
            for p, rise in enumerate(rising):
                by = rise if table is None else table[p, blocking.slot(index)]
                total = total + tirx.Select(passes(p, index), by, zero)
            return total

        kept = builder.stage(code)
        name = str(len(builder.tables))
        head = (builder.batch, builder.height, builder.width)
        tensor = outputs.code_output(name, *head, blocking, kept, str(call.attrs["dtype"]))
        groups = int(call.attrs["layout_groups"])
        return tensor, (*head, groups, code_slots(blocking.channels // groups))

    def _passes(self, call: Any, turned: np.ndarray | None = None) -> Passes:
        """Comparison with the thresholds of a step, in reverse order for ``turned`` channels."""
        builder = self.builder
        thresholds = array_of(call.args[1])
        wants_count = bool(int(call.attrs["count"]))
        counted = wants_count and call.args[0] in builder.sums
        if wants_count and not counted:
            thresholds = array_of(call.args[3])
        if turned is not None:
            thresholds = np.where(turned[None], thresholds[::-1], thresholds)
        if counted:
            compare: Passes = builder.sums[call.args[0]].passes(thresholds)
            return compare
        data, blocking = builder.operand(call.args[0]), builder.blocking
        table = builder.table(_limits(thresholds, blocking), "t")
        return lambda p, index: data(index) >= table[p, blocking.slot(index)]

    def _index_bits(self, passes: Passes, n: int, turned: np.ndarray) -> Passes:
        """Bits of the number of thresholds passed, turned round where the sense is."""
        builder = self.builder
        one, zero = tirx.const(1, "int32"), tirx.const(0, "int32")
        sign = offset = None
        if turned.any():
            sign = builder.per_slot(np.where(turned, -1, 1).astype(np.int32), "sign")
            offset = builder.per_slot(np.where(turned, n, 0).astype(np.int32), "offset")

        def index_of(index: Index) -> Any:
            total = zero
            for p in range(n):
                total = total + tirx.Select(passes(p, index), one, zero)
            if sign is not None and offset is not None:
                total = offset(index) + sign(index) * total
            return total

        count = builder.stage(index_of)
        return lambda p, index: ((count[index] >> tirx.Cast("int32", p)) & one) != zero
