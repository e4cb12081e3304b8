"""One fused group becomes one TE computation, scheduled: the heart of lowering.

Values inside a kernel are functions of a slot (see :mod:`abc_tvm.compute.lanes`); a value that is
read more than once becomes a stage, which lives in registers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.sym import Analyzer

from abc_tvm.compute import outputs
from abc_tvm.compute.geometry import WORD, Window
from abc_tvm.compute.lanes import Blocking, Index, Scalar, stage
from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.kernel_groups import ANCHORS, ENCODINGS
from abc_tvm.relay_passes.emit.step_epilogue import StepEpilogue
from abc_tvm.relay_passes.lowerings.bitserial_layout import pack_planes, pack_weights
from abc_tvm.relay_passes.lowerings.bitserial_sums import Sums
from abc_tvm.relay_passes.lowerings.int8_sums import ByteSums
from abc_tvm.relay_passes.ops import bit_window, conv_window
from abc_tvm.relay_passes.rewrite import array_of, bindings, dtype_of, op_name, operands, shape_of
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.scheduler import Scheduler


@dataclass
class Lowered:
    """A kernel: the scheduled function, constants after its tensor arguments, result types."""

    func: Any
    plan: Plan
    constants: list[np.ndarray]
    results: list[tuple[tuple[Any, ...], str]]
    shapes: list[tuple[Any, ...]] = field(default_factory=list)
    """What the results are to be reshaped to (the same memory)."""


class KernelBuilder:
    """Builds the kernel of one private function made by :mod:`.fuse`.

    ``batch`` stands in for a symbolic one.
    """

    def __init__(self, func: Any, scheduler: Scheduler, batch: int | None = None) -> None:
        self.scheduler = scheduler
        self.fixed_batch = batch
        self.members = bindings(func)
        self.params = list(func.params)
        self.body = func.body.body
        self.batch: Any = None
        self.constants: list[np.ndarray] = []
        self.tables: list[te.Tensor] = []
        self.inputs: dict[Any, te.Tensor] = {}
        self.values: dict[Any, Scalar] = {}
        self.first: Scalar | None = None
        self.stages = 0
        self.sums: dict[Any, Sums | ByteSums] = {}

    def build(self) -> Lowered:
        results = self.results()
        self.readers = self.count_readers(results)
        first_var, first = self.members[0]
        name = op_name(first)
        self.symbolic()
        if name == "abc.bitconv2d":
            plan = self.bit_convolution(first_var, first)
        elif name == "abc.dotconv2d":
            plan = self.byte_convolution(first_var, first)
        elif name == "nn.conv2d":
            plan = self.float_convolution(first_var, first)
        elif name == "nn.max_pool2d":
            plan = self.max_pool(first_var, first)
        else:
            plan = self.nothing()
        # What the kernel computes first: every later stage is placed in the loops that read it.
        known = [v for v in (first_var, *self.params) if v in self.values]
        self.first = self.values[known[0]] if known else None
        rest = self.members[1:] if name in ANCHORS else self.members
        steps = StepEpilogue(self)
        produced: dict[Any, tuple[te.Tensor, tuple[Any, ...]]] = {}
        for var, call in rest:
            if op_name(call) == "abc.encode":
                produced[var] = steps.bits(call)
            elif op_name(call) == "abc.encode_bytes":
                produced[var] = steps.codes(call)
            elif not isinstance(call, (relax.Var, relax.Tuple)):
                self.values[var] = self.keep(var, self.pointwise(var, call))
        outs, types, shapes = [], [], []
        for number, var in enumerate(results):
            if var in produced:
                tensor, shape = produced[var]
                types.append((tuple(tensor.shape), str(tensor.dtype)))
            else:
                tensor = outputs.float_output(
                    str(number),
                    self.batch,
                    self.height,
                    self.width,
                    self.blocking,
                    self.reading(self.values[var]),
                )
                shape = (self.batch, self.height, self.width, self.blocking.channels)
                types.append((tuple(tensor.shape), "float32"))
            outs.append(tensor)
            shapes.append(shape)
        args = [self.inputs[p] for p in self.params] + self.tables + outs
        func = te.create_prim_func(args)
        scheduled = self.scheduler.family.schedule(plan, func)
        return Lowered(scheduled, plan, self.constants, types, shapes)

    # ---- frame ------------------------------------------------------------------------

    def results(self) -> list[Any]:
        """Result variables, aliases followed."""
        alias = dict(self.members)
        body = self.body
        while (
            body in alias and not hasattr(alias[body], "op") and not hasattr(alias[body], "fields")
        ):
            body = alias[body]
        value: Any = alias.get(body)
        if hasattr(value, "fields"):
            self.members = [m for m in self.members if m[0] is not body]
            return [self.follow(f, alias) for f in value.fields]
        if hasattr(body, "fields"):
            return [self.follow(f, alias) for f in body.fields]
        return [self.follow(body, alias)]

    def follow(self, var: Any, alias: dict[Any, Any]) -> Any:
        while var in alias and alias[var] in alias:
            var = alias[var]
        return var

    def count_readers(self, results: list[Any]) -> dict[Any, int]:
        count: dict[Any, int] = {}
        for _, value in self.members:
            for a in operands(value):
                count[a] = count.get(a, 0) + 1
        for r in results:
            count[r] = count.get(r, 0) + 1
        return count

    def symbolic(self) -> None:
        """Placeholders of the tensor arguments; one batch for all of them."""
        batches = [shape_of(p)[0] for p in self.params]
        fixed = next((b for b in batches if isinstance(b, int) and b != 1), None)
        symbols = [b for b in batches if not isinstance(b, int)]
        self.batch = fixed or 1
        if symbols:
            self.batch = self.fixed_batch or tirx.Var("batch", "int32")
        for number, p in enumerate(self.params):
            dims = shape_of(p)
            head = dims[0] if isinstance(dims[0], int) else self.batch
            self.inputs[p] = te.placeholder((head, *dims[1:]), dtype_of(p), name=f"x{number}")

    def frame(self, height: int, width: int, blocking: Blocking) -> None:
        self.height, self.width, self.blocking = height, width, blocking

    def table(self, array: np.ndarray, name: str) -> te.Tensor:
        """A constant that the kernel reads: becomes one more argument."""
        array = np.ascontiguousarray(array)
        self.constants.append(array)
        tensor = te.placeholder(array.shape, str(array.dtype), name=f"{name}{len(self.constants)}")
        self.tables.append(tensor)
        return tensor

    def keep(self, var: Any, value: Scalar) -> Scalar:
        """Make a stage of a value that is read more than once."""
        if self.readers.get(var, 0) < 2:
            return value
        tensor = self.stage(value)
        return lambda index: tensor[index]

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

    def lanes_for(self, channels: int, groups: int) -> Blocking:
        return Blocking(channels, groups, WORD)

    def layout(self, default: int) -> int:
        for _, call in self.members:
            if op_name(call) in ENCODINGS:
                return int(call.attrs["layout_groups"])
        return default

    # ---- anchors ----------------------------------------------------------------------

    def bit_convolution(self, var: Any, call: Any) -> Plan:
        window = bit_window(call)
        self.frame(
            window.out_height,
            window.out_width,
            self.lanes_for(window.out_channels, window.groups),
        )
        planes, alpha = array_of(call.args[1]), array_of(call.args[2])
        base = float(call.attrs["base"])
        weights = np.array([float(w) for w in call.attrs["weights"]])
        pairs = len(planes) * len(weights)
        plan = self.scheduler.plan(window, self.blocking, pairs, "bits", len(planes))
        bits = self.inputs[call.args[0]]
        packed = pack_planes(planes, window, self.blocking)
        counts = self.scheduler.family.sums(plan, bits, packed, self.table)
        sums = Sums(self, window, planes, alpha, base, weights, counts)
        self.keep_sums(var, sums)
        return plan

    def byte_convolution(self, var: Any, call: Any) -> Plan:
        window = bit_window(call)
        self.frame(
            window.out_height,
            window.out_width,
            self.lanes_for(window.out_channels, window.groups),
        )
        weights, zero = array_of(call.args[1]), int(call.attrs["zero"])
        plan = self.scheduler.plan(window, self.blocking, 1, "bytes")
        codes = self.inputs[call.args[0]]
        acc = self.scheduler.family.sums(plan, codes, weights, self.table, zero)
        self.keep_sums(var, ByteSums(self, weights, array_of(call.args[2]), zero, acc))
        return plan

    def keep_sums(self, var: Any, sums: Sums | ByteSums) -> None:
        """Integer sums for what compares them, float values where anything reads those."""
        self.sums = {var: sums}
        if any(
            a is var or a.same_as(var)
            for _, v in self.members[1:]
            for a in operands(v)
            if op_name(v) not in ENCODINGS or not int(v.attrs["count"])
        ) or any(r.same_as(var) for r in self.results()):
            self.values[var] = self.keep_float(sums)

    def keep_float(self, sums: Sums | ByteSums) -> Scalar:
        tensor = self.stage(sums.value)
        return lambda index: tensor[index]

    def float_convolution(self, var: Any, call: Any) -> Plan:
        window = conv_window(call)
        self.frame(
            window.out_height,
            window.out_width,
            self.lanes_for(window.out_channels, window.groups),
        )
        weight = array_of(call.args[1])
        plan = self.scheduler.plan(window, self.blocking, 1, "float")
        data = self.inputs[call.args[0]]
        split = (
            te.compute(
                (data.shape[0], window.height, window.width, window.groups, window.group_in),
                lambda b, h, w, g, c: data[b, h, w, g * window.group_in + c],
                name="split",
            )
            if window.groups > 1
            else None
        )
        shaped = split if split is not None else _with_group(data, window)
        packed = pack_weights(weight, self.blocking)
        acc = self.scheduler.family.sums(plan, shaped, packed, self.table)
        self.values[var] = lambda index: acc[index]
        if self.readers.get(var, 0) > 1:
            self.values[var] = self.keep(var, self.values[var])
        return plan

    def max_pool(self, var: Any, call: Any) -> Plan:
        dims = shape_of(call.args[0])
        _, height, width, channels = shape_of(var)
        blocking = self.lanes_for(channels, self.layout(1))
        self.frame(height, width, blocking)
        data = self.inputs[call.args[0]]
        sh, sw = (int(s) for s in call.attrs.strides)
        kh, kw = (int(k) for k in call.attrs.pool_size)
        dh, dw = (int(d) for d in call.attrs.dilation)
        top, left = int(call.attrs.padding[0]), int(call.attrs.padding[1])
        padded = any(int(p) for p in call.attrs.padding)

        def value(index: Index) -> Any:
            b, h, w, g, o, l = index
            best = None
            for i in range(kh):
                for j in range(kw):
                    y, x = h * sh + i * dh - top, w * sw + j * dw - left
                    item = blocking.read(data, (b, y, x, g, o, l))
                    if padded:
                        inside = tirx.all(y >= 0, y < dims[1], x >= 0, x < dims[2])
                        low = tirx.const(float("-inf"), "float32")
                        item = tirx.if_then_else(inside, item, low)
                    best = item if best is None else tirx.max(best, item)
            return best

        acc = stage("acc", blocking.shape(self.batch, height, width), value)
        self.values[var] = lambda index: acc[index]
        return self.without_sum()

    def nothing(self) -> Plan:
        var, first = self.members[0]
        image = shape_of(first.args[0]) if op_name(first) in ENCODINGS else shape_of(var)
        blocking = self.lanes_for(int(image[3]), self.layout(1))
        self.frame(int(image[1]), int(image[2]), blocking)
        source = next(a for a in operands(first) if a in self.inputs)
        tensor = self.inputs[source]
        shape = blocking.shape(self.batch, self.height, self.width)
        acc = stage("acc", shape, lambda *i: blocking.read(tensor, i[0]))
        self.values[source] = lambda index: acc[index]
        return self.without_sum()

    def without_sum(self) -> Plan:
        """The plan of a kernel without a reduction: an image whose channels stay in their lanes."""
        slots = self.blocking.slots
        window = Window(self.batch, self.height, self.width, slots, slots)
        blocking = Blocking(slots, self.blocking.groups, self.blocking.lanes)
        return self.scheduler.plan(window, blocking, 1, "lanes")

    # ---- epilogue ---------------------------------------------------------------------

    def operand(self, arg: Any) -> Scalar:
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

    def per_slot(self, array: np.ndarray, name: str, fill: float = 0) -> Scalar:
        tensor = self.table(self.blocking.spread(array, fill), name)
        return lambda index: tensor[self.blocking.slot(index)]

    def pointwise(self, var: Any, call: Any) -> Scalar:
        name = str(op_name(call))
        if name in ("abc.step", "abc.count_step"):
            return StepEpilogue(self).levels(call)
        emit = pointwise.TABLE[name].te
        if emit is None:
            raise TypeError(f"{name} is never fused")
        args = [self.operand(a) for a in call.args]
        attrs = pointwise.attributes(name, call)
        return lambda index: emit(*(a(index) for a in args), **attrs)


def _with_group(data: te.Tensor, window: Window) -> te.Tensor:
    """NHWC as ``[B, H, W, 1, C]``; inlined by the schedule."""
    return te.compute(
        (data.shape[0], window.height, window.width, 1, window.in_channels),
        lambda b, h, w, g, c: data[b, h, w, c],
        name="split",
    )
