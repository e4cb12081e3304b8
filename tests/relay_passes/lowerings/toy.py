"""A lowering from outside: what CONTRIBUTING.md says that a new one needs, and no more.

Levels are coded as int8 does, and multiplied as floats: whole numbers, whose sums are exact below
``2**24``. So it needs no dot products of bytes, and any processor's float kernels serve it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from tvm import relax, te, tirx

from abc_tvm.compute.int8_products import code_slots
from abc_tvm.compute.lanes import Index, Passes
from abc_tvm.compute.roles import notes
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.emit.anchor import Anchor, Encoding
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.lowerings.candidate import Candidate, Offer, Outcome
from abc_tvm.relay_passes.lowerings.codec import ByteCodec, level_scale, patterns
from abc_tvm.relay_passes.lowerings.int8_epilogue import write_codes
from abc_tvm.relay_passes.lowerings.int8_form import Int8Form, int8_form
from abc_tvm.relay_passes.lowerings.lowering import Emitter, Lowering
from abc_tvm.relay_passes.lowerings.packing import pack_weights
from abc_tvm.relay_passes.ops import (
    coded_window,
    infer_coded_convolution,
    make,
    window_attrs,
)
from abc_tvm.relay_passes.rewrite import array_of, const, op_name, shape_of
from abc_tvm.schedules.family import Plan

LARGEST = 2**24
"""Whole numbers up to this have a float32 each."""


class ToySums:
    """Sums of products of whole numbers, as floats."""

    def __init__(self, frame: Frame, scale: np.ndarray, sums: te.Tensor) -> None:
        self.frame, self.sums = frame, sums
        self.scale = frame.per_slot(scale, "scale")

    def value(self, index: Index) -> Any:
        return self.sums[index] * self.scale(index)

    def passes(self, thresholds: np.ndarray) -> Passes:
        limits = np.clip(thresholds, -LARGEST, LARGEST).astype(np.float32)
        blocking = self.frame.blocking
        table = self.frame.table(blocking.spread(limits, np.inf), "limit")
        return lambda p, index: self.sums[index] >= table[p, blocking.slot(index)]


def begin(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    window = coded_window(call)
    frame.lay_window(window)
    plan = frame.scheduler.plan(window, frame.blocking, 1, "float")
    codes, zero = frame.inputs[call.args[0]], int(call.attrs["zero"])
    levels = te.compute(
        (codes.shape[0], window.height, window.width, window.groups, window.group_in),
        lambda b, h, w, g, c: codes[b, h, w, g, c].astype("float32") - tirx.const(zero, "float32"),
        name="split",
        attrs=notes("groups"),
    )
    packed = pack_weights(array_of(call.args[1]), frame.blocking)
    sums = frame.scheduler.family.sums(plan, levels, packed, frame.table)
    frame.keep_sums(var, ToySums(frame, array_of(call.args[2]), sums))
    return plan


def infer_codes(call: relax.Call, _: relax.BlockBuilder) -> relax.TensorType:
    b, h, w, channels = shape_of(call.args[0])
    groups = int(call.attrs["layout_groups"])
    return relax.TensorType([b, h, w, groups, code_slots(channels // groups)], "int8")


class Toy(Lowering):
    name = "toy"
    kind = peak = "float"
    title, colour, arithmetic = "a toy", "#000000", "float32 FMA"
    anchor = Anchor(
        "abc.toy_conv2d", begin, lambda call: True, lambda call: int(call.attrs["groups"])
    )
    encodings = (Encoding("abc.encode_toy", write_codes),)
    operators: ClassVar = {"encode_toy": infer_codes, "toy_conv2d": infer_coded_convolution}

    def form(self, layer: Candidate) -> Int8Form | None:
        form = int8_form(layer.planes, layer.alpha, layer.steps.levels, "int8")
        return None if form is None or form.bound.max() >= LARGEST else form

    def offer(self, layer: Candidate, rival: float) -> Offer | None:
        if layer.device.gpu is not None or self.form(layer) is None:
            return None  # a GPU's kernels read floats from memory
        return Offer(0.9)

    def outcome(self, layer: Candidate, offer: Offer) -> Outcome:
        return Outcome("whole numbers as floats", array_of(layer.call.args[3]).nbytes)

    def encode(
        self, layer: Candidate, reading: LayerReading, emitter: Emitter, error: float
    ) -> relax.Call | str:
        form, window, step = self.form(layer), layer.window, reading.coded
        if form is None or reading.mixed:
            return "a toy reads whole numbers"
        written, after = form.codes, ()
        if step is not reading.step:  # the index is pooled, and becomes a code afterwards
            written, after = tuple(range(len(form.codes))), form.codes
        count = op_name(step) == "abc.count_step"
        data = emitter.emit(
            "toys",
            "encode_toy",
            [*step.args[:3], *([step.args[4]] if count else [])],
            codes=list(written),
            dtype="int8",
            layout_groups=window.groups,
            count=int(count),
        )
        if reading.pool is not None:
            turned = const(reading.turned_channels())
            attrs = reading.pool_attributes()
            data = emitter.emit("pooled", "pool_int8", [data, turned], **attrs, codes=list(after))
        return make(
            "toy_conv2d",
            [data, const(form.weights.astype(np.float32)), const(form.scale)],
            **window_attrs(window),
            kernel=list(window.kernel),
            in_channels=window.in_channels,
            out_channels=window.out_channels,
            codes=list(form.codes),
            zero=form.zero,
        )

    def codec(self, call: relax.Call, source: relax.Call, plain: np.ndarray) -> ByteCodec:
        attrs = call.attrs
        codes = np.sort([int(n) for n in attrs["codes"]])
        coded = array_of(call.args[2])[:, None, None, None] * array_of(call.args[1])
        levels = level_scale(coded.astype(np.float64), plain) * (codes - int(attrs["zero"]))
        return ByteCodec(
            int(attrs["in_channels"]),
            int(attrs["groups"]),
            float(levels[0]),
            np.diff(levels).astype(np.float64),
            patterns("thermometer", len(codes) - 1),
            tuple(int(n) for n in codes),
        )


TOY = Toy()
