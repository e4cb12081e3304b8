"""``float``: the convolution as the graph has it, on levels or on any floats."""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Index, stage
from abc_tvm.compute.roles import notes
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.emit.anchor import Anchor
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.ops import conv_window, to_float
from abc_tvm.relay_passes.rewrite import array_of, constant, dtype_of, shape_of
from abc_tvm.schedules.family import Plan

from .candidate import Candidate, Offer, Outcome, is_depthwise
from .coded_moves import MOVE_LEVELS
from .lowering import Emitter, Lowering
from .packing import pack_weights


def begin(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    """Weights in lanes, sums of products of floats."""
    window = conv_window(call)
    if is_depthwise(window):
        return _begin_depthwise(frame, var, call, window)
    frame.lay_window(window)
    plan = frame.scheduler.plan(window, frame.blocking, 1, "float")
    data = _in_groups(frame.inputs[call.args[0]], window)
    packed = pack_weights(array_of(call.args[1]), frame.blocking)
    sums = frame.scheduler.family.sums(plan, data, packed, frame.table)
    frame.values[var] = frame.keep(var, lambda index: sums[index])
    return plan


def _begin_depthwise(frame: Frame, var: relax.Var, call: relax.Call, window: Window) -> Plan:
    """A vector of channels at a time, each lane with its own weight: nothing is summed over."""
    channels = window.out_channels
    frame.lay(window.out_height, window.out_width, channels, frame.layout(1))
    blocking, data = frame.blocking, frame.inputs[call.args[0]]
    kernel = array_of(call.args[1]).reshape(channels, -1).T
    weights = frame.table(blocking.spread(np.ascontiguousarray(kernel)), "taps")
    (_, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, _, _ = window.padding
    nothing = tirx.const(0.0, "float32")

    def value(index: Index) -> Expr:
        b, h, w, g, o, lane = index
        total = None
        for tap in range(len(kernel)):
            i, j = divmod(tap, kw)
            y, x = h * sh + i * dh - top, w * sw + j * dw - left
            one = blocking.read(data, (b, y, x, g, o, lane))
            if any(window.padding):
                inside = tirx.all(y >= 0, y < window.height, x >= 0, x < window.width)
                one = tirx.if_then_else(inside, one, nothing)
            product = one * weights[tap, blocking.slot(index)]
            total = product if total is None else total + product
        return total

    acc = stage("acc", blocking.shape(frame.batch, frame.height, frame.width), value, "sums")
    frame.values[var] = frame.keep(var, lambda index: acc[index])
    return frame.lanes_plan()


def _layout(call: relax.Call) -> int | None:
    """Of a depthwise convolution any number of groups will do."""
    fits = all(isinstance(extent, int) for extent in shape_of(call.args[0])[1:])
    return None if fits and is_depthwise(conv_window(call)) else int(call.attrs.groups)


def _in_groups(data: te.Tensor, window: Window) -> te.Tensor:
    """NHWC as ``[B, H, W, G, C/G]``; inlined by the schedule."""
    if window.groups == 1:
        return te.compute(
            (data.shape[0], window.height, window.width, 1, window.in_channels),
            lambda b, h, w, g, c: data[b, h, w, c],
            name="split",
            attrs=notes("groups"),
        )
    return te.compute(
        (data.shape[0], window.height, window.width, window.groups, window.group_in),
        lambda b, h, w, g, c: data[b, h, w, g * window.group_in + c],
        name="split",
        attrs=notes("groups"),
    )


def _fits(call: relax.Call) -> bool:
    dims = shape_of(call.args[0])
    return (
        dtype_of(call.args[0]) == "float32"
        and len(dims) == 4
        and all(isinstance(extent, int) for extent in dims[1:])
        and str(call.attrs.data_layout) == "NHWC"
        and constant(call.args[1]) is not None
    )


class FloatLowering(Lowering):
    """What every other lowering is measured by: a multiply-accumulate of it costs 1."""

    name = kind = peak = "float"
    title = "float32"
    colour = "#2166ac"
    arithmetic = "float32 FMA"
    anchor = Anchor("nn.conv2d", begin, _fits, _layout)
    moves = (MOVE_LEVELS,)

    def offer(self, layer: Candidate, rival: float) -> Offer:
        return Offer(1.0)

    def outcome(self, layer: Candidate, offer: Offer) -> Outcome:
        return Outcome("", array_of(layer.call.args[3]).nbytes)

    def taken(self, call: relax.Call) -> relax.Call:
        return to_float(call)

    def encode(
        self, layer: Candidate, reading: LayerReading, emitter: Emitter, error: float
    ) -> relax.Call | str:
        return to_float(layer.call)

    def codec(self, call: relax.Call, source: relax.Call, plain: np.ndarray) -> None:
        return None


FLOATS = FloatLowering()
