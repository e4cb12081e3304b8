"""The frame of a kernel under construction, which anchors, sums and epilogues add to.

Values inside a kernel are functions of a slot (see :mod:`abc_tvm.compute.lanes`); a value that is
read more than once becomes a stage, which lives in registers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr
from tvm.sym import Analyzer

from abc_tvm.compute.geometry import WORD, Dim, Window
from abc_tvm.compute.lanes import Blocking, Index, Passes, Scalar, stage
from abc_tvm.relay_passes.rewrite import (
    Shape,
    array_of,
    bindings,
    dtype_of,
    op_name,
    operands,
    shape_of,
)
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.scheduler import Scheduler

GROUP = "abc_group"
"""The attribute of private functions that become one kernel each."""

Produced = tuple[te.Tensor, Shape]
"""A result of the kernel and the shape that readers know it by: the same memory."""


@dataclass
class Lowered:
    """A kernel: the scheduled function, constants after its tensor arguments, result types."""

    func: tirx.PrimFunc
    plan: Plan
    constants: list[np.ndarray]
    results: list[tuple[Shape, str]]
    shapes: list[Shape] = field(default_factory=list)
    """What the results are to be reshaped to (the same memory)."""
    anchored: bool = True
    """Whether anything that it stores depends on what its anchor computes."""


class SumsMeaning(Protocol):
    """What the integer sums of a convolution mean."""

    def value(self, index: Index) -> Expr:
        """The convolution's float32 value."""

    def whole_value(self, index: Index) -> Expr:
        """``D``, int32, where :meth:`passes` may be asked."""

    def passes(self, thresholds: np.ndarray) -> Passes:
        """``D >= T`` as a comparison of the sum itself; ``T`` int ``[N, OC]``."""


class Frame:
    """The kernel of one private function made by the pass "fuse".

    ``batch`` stands in for a symbolic one; ``encodings`` are the operators whose calls store the
    index of a step.
    """

    def __init__(
        self,
        func: relax.Function,
        scheduler: Scheduler,
        encodings: Collection[str],
        batch: int | None = None,
    ) -> None:
        self.scheduler, self.encodings = scheduler, encodings
        self.members = bindings(func)
        self.params = list(func.params)
        self.body = func.body.body
        self.constants: list[np.ndarray] = []
        self.tables: list[te.Tensor] = []
        self.inputs: dict[relax.Var, te.Tensor] = {}
        self.values: dict[relax.Var, Scalar] = {}
        self.first: Scalar | None = None
        self.stages = 0
        self.sums: dict[relax.Var, SumsMeaning] = {}
        self.results = self._results()
        self.readers = self._count_readers()
        self.batch = self._placeholders(batch)

    def _results(self) -> list[relax.Var]:
        """Result variables, aliases followed."""
        alias = dict(self.members)
        body = self.body
        while (
            body in alias and not hasattr(alias[body], "op") and not hasattr(alias[body], "fields")
        ):
            body = alias[body]
        value = alias.get(body)
        if value is not None and hasattr(value, "fields"):
            self.members = [m for m in self.members if m[0] is not body]
            return [_followed(f, alias) for f in value.fields]
        if hasattr(body, "fields"):
            return [_followed(f, alias) for f in body.fields]
        return [_followed(body, alias)]

    def _count_readers(self) -> dict[relax.Var, int]:
        count: dict[relax.Var, int] = {}
        for _, value in self.members:
            for a in operands(value):
                count[a] = count.get(a, 0) + 1
        for r in self.results:
            count[r] = count.get(r, 0) + 1
        return count

    def _placeholders(self, batch: int | None) -> Dim:
        """Placeholders of the tensor arguments; one batch, the result, for all of them."""
        batches = [shape_of(p)[0] for p in self.params]
        one: Dim = next((b for b in batches if isinstance(b, int) and b != 1), None) or 1
        if any(not isinstance(b, int) for b in batches):
            one = batch or tirx.Var("batch", "int32")
        for number, p in enumerate(self.params):
            dims = shape_of(p)
            head = dims[0] if isinstance(dims[0], int) else one
            self.inputs[p] = te.placeholder((head, *dims[1:]), dtype_of(p), name=f"x{number}")
        return one

    # ---- the image of slots that the kernel computes --------------------------------------

    def lay(self, height: int, width: int, channels: int, groups: int) -> None:
        """Say what the kernel computes over: an image of slots."""
        self.height, self.width = height, width
        self.blocking = Blocking(channels, groups, WORD)

    def lay_window(self, window: Window) -> None:
        """The same, of a convolution's result."""
        self.lay(window.out_height, window.out_width, window.out_channels, window.groups)

    def layout(self, default: int) -> int:
        """The groups of channels that an encoding in this kernel wants."""
        for _, call in self.members:
            if op_name(call) in self.encodings:
                return int(call.attrs["layout_groups"])
        return default

    def lanes_plan(self) -> Plan:
        """The plan of a kernel without a reduction: an image whose channels stay in their lanes."""
        slots = self.blocking.slots
        window = Window(self.batch, self.height, self.width, slots, slots)
        blocking = Blocking(slots, self.blocking.groups, self.blocking.lanes)
        return self.scheduler.plan(window, blocking, 1, "lanes")

    # ---- constants and values -------------------------------------------------------------

    def table(self, array: np.ndarray, name: str) -> te.Tensor:
        """A constant that the kernel reads: becomes one more argument."""
        array = np.ascontiguousarray(array)
        self.constants.append(array)
        tensor = te.placeholder(array.shape, str(array.dtype), name=f"{name}{len(self.constants)}")
        self.tables.append(tensor)
        return tensor

    def per_slot(self, array: np.ndarray, name: str, fill: float = 0) -> Scalar:
        """A constant ``[C]`` by slot; slots without a channel read ``fill``."""
        tensor = self.table(self.blocking.spread(array, fill), name)
        return lambda index: tensor[self.blocking.slot(index)]

    def operand(self, arg: relax.Expr) -> Scalar:
        """What an operator reads: a value of this kernel, a tensor argument or a constant."""
        if arg in self.values:
            return self.values[arg]
        if arg in self.inputs:
            tensor = self.inputs[arg]
            return lambda index: self.blocking.read(tensor, index)
        array = array_of(arg)
        if array.size == 1:
            number = tirx.const(float(array.reshape(())), "float32")
            return lambda index: number
        if array.size == array.shape[-1]:
            return self.per_slot(array.reshape(-1), "c")
        full = self.table(array.reshape((1,) * (4 - array.ndim) + array.shape), "c")
        return lambda index: self.blocking.read(full, index)

    def keep(self, var: relax.Var, value: Scalar) -> Scalar:
        """Make a stage of a value that is read more than once."""
        if self.readers.get(var, 0) < 2:
            return value
        tensor = self.stage(value)
        return lambda index: tensor[index]

    def keep_sums(self, var: relax.Var, sums: SumsMeaning) -> None:
        """Integer sums for what compares them, float values where anything reads those."""
        self.sums = {var: sums}
        if any(
            a is var or a.same_as(var)
            for _, v in self.members[1:]
            for a in operands(v)
            if op_name(v) not in self.encodings or not int(v.attrs["count"])
        ) or any(r.same_as(var) for r in self.results):
            tensor = self.stage(sums.value)
            self.values[var] = lambda index: tensor[index]

    def stage(self, value: Scalar) -> te.Tensor:
        """One more stage of the kernel, in the blocked order of its results."""
        self.stages += 1
        shape = self.blocking.shape(self.batch, self.height, self.width)
        return stage(f"stage_{self.stages}", shape, self.reading(value))

    def reading(self, value: Scalar) -> Scalar:
        """``value``, which must read what the kernel computed first, or no loop can be shared.

        TVM simplifies ``x - x`` and its like to a number; a selection that never selects keeps it.
        """
        index = tuple(tirx.Var(f"i{n}", "int32") for n in range(6))
        simple = Analyzer().simplify(value(index))
        alone = te.compute((1,), lambda _: simple)
        first = self.first
        if first is None or not all(
            isinstance(t.op, te.PlaceholderOp) for t in alone.op.input_tensors
        ):
            return value
        most = tirx.const(float("inf"), "float32")
        return lambda i: tirx.Select(first(i) > most, first(i).astype(alone.dtype), value(i))


def _followed(var: relax.Var, alias: dict[relax.Var, relax.Expr]) -> relax.Var:
    while var in alias and alias[var] in alias:
        var = alias[var]
    return var
