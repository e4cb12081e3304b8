"""Narrow groups on bytes, which lie side by side: how their kernels begin, and what they cost.

Where the family schedules :mod:`abc_tvm.compute.narrow_products`, with dot products or without;
elsewhere, as on GPUs, groups lie one after the other, and dot products of four bytes have one to
three of them filled.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.compute.narrow_products import Narrow, SumType, is_narrow, narrow_products
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.ops import coded_window, side_by_side
from abc_tvm.relay_passes.rewrite import array_of, dtype_of
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.family import CodeType, Plan

from .candidate import Candidate, is_depthwise
from .int8_form import Int8Form
from .int8_sums import Int8Sums

DEPTHWISE: dict[SumType, float] = {"int8": 0.6, "int16": 0.75, "int32": 1.6}
"""Time of a depthwise kernel as a part of that of the float one, by the type of its sums.

3x3 on 28x28x128, one thread: 0.44 to 0.62, 0.65 to 0.82, 1.57, the more the more of it is stored as
floats; strides 0.63 to 0.86; 56x56x64 0.27 to 0.61; 5x5 0.19 to 0.29 (measured on x86)."""

GROUPED = 0.1
"""The same of other narrow groups, whose float kernel fills a few lanes of a vector: of sums of
bytes, 0.02 to 0.09 (measured on x86). A float multiply-accumulate is so much dearer there."""

FREE = 32
"""Thresholds that take no more than the step of the layer in float, which compares with as many.

With 1 to 31 of them both kernels, of the step and of the depthwise layer, take 0.52 to 0.95 of the
time of float's, with 255 they take 1.28 (28x28x128, measured on x86)."""

THRESHOLD = 0.5
"""What any other takes of a float multiply-accumulate, for each input."""


def narrow_code(layer: Candidate) -> CodeType | None:
    """The bytes of a layer whose groups lie side by side on its device; ``None``: they do not."""
    return family_of(layer.device).narrow if is_narrow(layer.window) else None


def groups_read(call: relax.Call) -> int:
    """In how many groups an ``abc.int8_conv2d`` has its codes and its results."""
    return 1 if side_by_side(call) else int(call.attrs["groups"])


def narrow_cost(layer: Candidate, form: Int8Form | None, code: CodeType) -> float:
    """What such a layer takes of its time in float; ``form`` ``None``: at least."""
    sums: SumType = "int8"
    if form is not None:
        sums = narrow_of(form.weights, (*form.codes, form.zero), code).dtype
    window, thresholds = layer.window, layer.comparisons
    inputs = window.height * window.width * window.in_channels / max(window.macs, 1)
    compared = THRESHOLD * max(thresholds - FREE, 0) * inputs
    if is_depthwise(window):
        return DEPTHWISE[sums] + compared
    return GROUPED * (DEPTHWISE[sums] + compared)


def weight_bytes(window: Window) -> int:
    """Bytes of the packed weights."""
    return window.taps * window.group_in * words(window.out_channels) * WORD


def narrow_of(weights: np.ndarray, codes: tuple[int, ...], dtype: str) -> Narrow:
    """The weights of a layer that reads any of these codes."""
    return Narrow(weights, max(abs(code) for code in codes), dtype == "int8")


def begin_narrow(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    """An output channel in each lane, with its own input and its own weights."""
    window = coded_window(call)
    frame.lay(window.out_height, window.out_width, window.out_channels, 1)
    plan = frame.scheduler.plan(window, frame.blocking, 1, "int8")
    weights, zero = array_of(call.args[1]), int(call.attrs["zero"])
    codes = (*(int(code) for code in call.attrs["codes"]), zero)
    narrow = narrow_of(weights, codes, dtype_of(call.args[0]))
    table = frame.table(narrow.table(frame.blocking), "weight")
    data = frame.inputs[call.args[0]]
    sums = narrow_products(data, table, narrow, window, frame.blocking, plan.tile, zero)
    scale, part = array_of(call.args[2]), int(call.attrs["part"])
    frame.keep_sums(var, Int8Sums(frame, weights, scale, zero, sums, narrow.constant, part))
    return plan
