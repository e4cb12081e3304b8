"""A family from outside: what CONTRIBUTING.md says that a new instruction set needs, and no more.

A machine that counts *equal* bits, keeps its weights complemented for that, and has one loop nest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te, tirx

from abc_tvm.compute.accumulate import pad_spatial
from abc_tvm.compute.geometry import WORD
from abc_tvm.compute.roles import notes
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Family, Plan, Table
from abc_tvm.schedules.generic import schedule_any
from abc_tvm.schedules.machine import MachineFacts
from abc_tvm.schedules.plain import PLAIN
from abc_tvm.schedules.problem import Problem

MARK = "toy"
"""Attribute of the kernels that this family has scheduled."""


class Toy(Family):
    """Bits by complemented weights; floats and bytes as anywhere."""

    code = "uint8"

    def default(self, machine: MachineFacts, problem: Problem) -> Choice:
        return Choice()

    def sums(
        self, plan: Plan, data: te.Tensor, weights: np.ndarray, table: Table, zero: int = 0
    ) -> te.Tensor:
        if plan.problem.kind == "bitserial":
            return self.equal_bits(plan, data, table(~weights, "complement"))
        return PLAIN.sums(plan, data, weights, table, zero)

    def equal_bits(self, plan: Plan, bits: te.Tensor, planes: te.Tensor) -> te.Tensor:
        """Differing bits, by what each word has in common with the complement."""
        window, blocking = plan.problem.window, plan.problem.blocking
        padded = pad_spatial(bits, window, plan.tile)
        kh, kw, c = (
            te.reduce_axis((0, n), name=name)
            for n, name in zip((*window.kernel, planes.shape[3]), ("kh", "kw", "c"), strict=True)
        )
        (sh, sw), (dh, dw) = window.stride, window.dilation
        head = (bits.shape[0], window.out_height, window.out_width)
        shape = (*head, blocking.groups, blocking.blocks)

        def value(b: Any, h: Any, w: Any, g: Any, o: Any, m: Any, p: Any, l: Any) -> Any:
            a = padded[b, h * sh + kh * dh, w * sw + kw * dw, p, g, c]
            v = planes[g * blocking.blocks + o, kh, kw, c, m, l]
            equal = tirx.popcount(a ^ v).astype("int32")
            return te.sum(tirx.const(WORD, "int32") - equal, axis=[kh, kw, c])

        lanes = (planes.shape[4], bits.shape[3], blocking.lanes)
        return te.compute((*shape, *lanes), value, name="acc", attrs=notes("sums"))

    def schedule(self, plan: Plan, func: Any) -> Any:
        return schedule_any(func).with_attr(MARK, 1)

    def rest(self, func: Any) -> Any:
        return schedule_any(func)


TOY = Toy()
