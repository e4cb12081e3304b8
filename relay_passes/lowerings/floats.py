"""``float``: the convolution as the graph has it, on levels or on any floats."""

from __future__ import annotations

import numpy as np
from tvm import relax, te

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.roles import notes
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.emit.anchor import Anchor
from abc_tvm.relay_passes.emit.frame import Frame
from abc_tvm.relay_passes.ops import conv_window, to_float
from abc_tvm.relay_passes.rewrite import array_of, constant, dtype_of, shape_of
from abc_tvm.schedules.family import Plan

from .candidate import Candidate, Offer, Outcome
from .coded_moves import MOVE_LEVELS
from .lowering import Emitter, Lowering
from .packing import pack_weights


def begin(frame: Frame, var: relax.Var, call: relax.Call) -> Plan:
    """Weights in lanes, sums of products of floats."""
    window = conv_window(call)
    frame.lay_window(window)
    plan = frame.scheduler.plan(window, frame.blocking, 1, "float")
    data = _in_groups(frame.inputs[call.args[0]], window)
    packed = pack_weights(array_of(call.args[1]), frame.blocking)
    sums = frame.scheduler.family.sums(plan, data, packed, frame.table)
    frame.values[var] = frame.keep(var, lambda index: sums[index])
    return plan


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
    anchor = Anchor("nn.conv2d", begin, _fits, lambda call: int(call.attrs.groups))
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
