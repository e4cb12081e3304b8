"""One fused group becomes one TE computation, scheduled: the heart of lowering.

1. An anchor begins it (a convolution, a max-pooling), or the first operator's own input does.
2. Element-wise operators and the levels of steps are values of a slot.
3. Encodings write the index of a step as the next layer reads it.
4. What is left of the results is written as floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax, te

from abc_tvm.compute import outputs
from abc_tvm.compute.lanes import Scalar, stage
from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.ops import LEVELS
from abc_tvm.relay_passes.rewrite import op_name, operands, shape_of
from abc_tvm.schedules import blocks
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.scheduler import Scheduler

from .anchor import Anchor, Encoding
from .frame import Frame, Lowered
from .step_epilogue import levels_of


def kernel(
    func: relax.Function,
    scheduler: Scheduler,
    anchors: Mapping[str, Anchor],
    encodings: Mapping[str, Encoding],
    batch: int | None = None,
) -> Lowered:
    """The kernel of one private function made by the pass "fuse".

    ``batch`` stands in for a symbolic one. ``anchors`` and ``encodings`` are by operator.
    """
    frame = Frame(func, scheduler, encodings, batch)
    first_var, first = frame.members[0]
    anchor = anchors.get(op_name(first) or "")
    plan = _without_anchor(frame) if anchor is None else anchor.begin(frame, first_var, first)
    # What the kernel computes first: every later stage is placed in the loops that read it.
    known = [v for v in (first_var, *frame.params) if v in frame.values]
    frame.first = frame.values[known[0]] if known else None
    produced: dict[relax.Var, tuple[te.Tensor, tuple[Any, ...]]] = {}
    for var, call in frame.members if anchor is None else frame.members[1:]:
        name = op_name(call) or ""
        if name in encodings:
            produced[var] = encodings[name].write(frame, call)
        elif not isinstance(call, (relax.Var, relax.Tuple)):
            frame.values[var] = frame.keep(var, _value(frame, name, call))
    outs, types, shapes = [], [], []
    for number, var in enumerate(frame.results):
        if var in produced:
            tensor, shape = produced[var]
            types.append((tuple(tensor.shape), str(tensor.dtype)))
        else:
            image = (frame.batch, frame.height, frame.width)
            value = frame.reading(frame.values[var])
            tensor = outputs.float_output(str(number), *image, frame.blocking, value)
            shape = (*image, frame.blocking.channels)
            types.append((tuple(tensor.shape), "float32"))
        outs.append(tensor)
        shapes.append(shape)
    args = [frame.inputs[p] for p in frame.params] + frame.tables + outs
    made = te.create_prim_func(args)
    anchored = blocks.has(made, "sums")
    scheduled = scheduler.schedule(plan, made)
    return Lowered(scheduled, plan, frame.constants, types, shapes, anchored)


def _without_anchor(frame: Frame) -> Plan:
    """A kernel that computes element by element, over what its first operator reads."""
    var, first = frame.members[0]
    image = shape_of(first.args[0]) if op_name(first) in frame.encodings else shape_of(var)
    frame.lay(int(image[1]), int(image[2]), int(image[3]), frame.layout(1))
    source = next(a for a in operands(first) if a in frame.inputs)
    tensor = frame.inputs[source]
    shape = frame.blocking.shape(frame.batch, frame.height, frame.width)
    acc = stage("acc", shape, lambda *i: frame.blocking.read(tensor, i[0]), "sums")
    frame.values[source] = lambda index: acc[index]
    return frame.lanes_plan()


def _value(frame: Frame, name: str, call: relax.Call) -> Scalar:
    """Case 2: an element-wise operator, or the levels of a step."""
    if name in LEVELS:
        return levels_of(frame, call)
    emit = pointwise.TABLE[name].te
    if emit is None:
        raise TypeError(f"{name} is never fused")
    args = [frame.operand(a) for a in call.args]
    attrs = pointwise.attributes(name, call)
    return lambda index: emit(*(a(index) for a in args), **attrs)
