"""Bits, bytes or floats, layer by layer: never a slower layer than the float one.

A pair of planes costs ``device.cost.pair`` of a float multiply-accumulate; input channels fill up
whole words; and every input element is compared with every threshold once, at the cost of a
multiply-accumulate each. Levels coded as bytes (see :mod:`.byte_form`) cost ``device.cost.dot``
whatever the number of planes, with the same comparisons. Where both cost more than the float
convolution, ``abc.bconv2d`` goes back to ``nn.conv2d`` on the levels, and the layer's row says by
how much.

Bytes are taken where they are exact, and with ``context.allow_int8`` also where scales and levels
must be rounded, unless the bound of the error exceeds it. Then the layer gets the rounded scales
and a step with the rounded levels; everything after this pass is exact for those.

Where tuning records have the times of a layer in every form that is in doubt, those decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from abc_tvm.compute.byte_products import QUAD, quads
from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.relay_passes.analysis.planes_code import best_code
from abc_tvm.relay_passes.analysis.step_function import steps_of
from abc_tvm.relay_passes.context import Context, Layer, Measured, Rivals
from abc_tvm.relay_passes.lowerings.int8_form import Rounded, byte_form, rounded
from abc_tvm.relay_passes.ops import conv_window, to_float
from abc_tvm.relay_passes.rewrite import (
    Content,
    array_of,
    const,
    content,
    emit,
    hint,
    op_name,
    rebuild,
    shape_of,
    substitute,
)
from abc_tvm.schedules.families import code_type

BITS, FLOAT, BYTES = "bits", "float", "bytes"
"""Kinds of kernels that a layer can run on, as tuning records name them."""

DOUBT = 2.5
"""Costs within this factor of the least may be wrong: tuning measures these kinds."""

SEAM = 0.8
"""What a measured kind must take of the time of the kind that costs least, to replace it.

Between layers of two kinds levels are written beside the bits, which no layer's time contains: of
ABC ResNet-18 (3, 3), float shortcuts save an eighth of their own time, and the network is slower.
"""

HINT = 0.8
"""A layer's row mentions bytes that are not allowed where they take less than this of the time."""


@dataclass(frozen=True)
class Bytes:
    """Bytes for a layer: their cost; ``error`` and ``rounded`` where values must be moved."""

    cost: float
    error: float = 0.0
    rounded: Rounded | None = None


class ChooseLowering:
    """See the module's text."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        self.defined: dict[Any, Any] = {}
        self.moved: dict[Content, Any] = {}

        def visit(builder: relax.BlockBuilder, var: Any, value: Any) -> Any:
            new = value
            if op_name(value) == "abc.bconv2d":
                new = self.choose(builder, self.context.layers[hint(var)], value)
            return self.bind(builder, new, hint(var))

        return rebuild(mod, visit)

    def bind(self, builder: Any, value: Any, name: str) -> Any:
        expr = emit(builder, value, name)
        self.defined[expr] = value
        return expr

    def step_behind(self, call: Any) -> Any:
        source = self.defined[call.args[0]]
        return self.defined[source.args[0]] if op_name(source) == "nn.max_pool2d" else source

    def choose(self, builder: Any, layer: Layer, call: Any) -> Any:
        window = conv_window(call)
        steps = steps_of(self.step_behind(call))
        planes = best_code(steps.levels).planes
        pairs = planes * int(shape_of(call.args[1])[0])
        fill = window.group_in / (words(window.group_in) * WORD)
        thresholds = len(steps.thresholds)
        compared = (
            thresholds * window.height * window.width * window.in_channels / max(window.macs, 1)
        )
        bits = pairs * self.context.device.cost.pair / fill + compared
        found = self.bytes_of(call, window, compared, min(bits, 1.0))
        refused = "" if found is None else self.refusal(found)
        wanted = self.context.lowering
        costs = {BITS: bits, FLOAT: 1.0}
        if found is not None and not refused:
            costs[BYTES] = found.cost
        key = layer_key(window, pairs // planes, planes, thresholds)
        self.context.rivals[layer.name] = Rivals(key, costs)
        measured = self.measured(key, costs)
        kind = expected = min(costs, key=lambda k: costs[k])
        if measured is not None:
            seconds = measured.seconds
            if seconds[measured.winner] < SEAM * seconds[expected]:
                kind = measured.winner
        takes = wanted == "int8" or (wanted != "bitserial" and kind == BYTES)
        if found is not None and BYTES in costs and takes:
            return self.to_bytes(builder, layer, call, window, pairs, found)
        note = ""
        if found is not None and refused and found.cost < HINT * min(bits, 1.0):
            note = f"; bytes would take {found.cost:.2f}x the time of float, but {refused}"
        if measured is not None and kind == FLOAT:
            times = ", ".join(f"{k} {s * 1e6:.1f} µs" for k, s in measured.seconds.items())
            layer.reason = f"measured on {self.context.device.name}: {times}"
            return to_float(call)
        if kind == FLOAT and wanted != "bitserial":
            why = f"{pairs} pairs of planes"
            if compared > 0.25:
                why += f" behind {thresholds} thresholds"
            if fill < 0.75:
                why += f" on {window.group_in} channels of {WORD}-bit words"
            layer.reason = (
                f"{why} would take {bits:.1f}x the time of float on {self.context.device.name}; "
                f"force with lowering=bitserial{note}"
            )
            return to_float(call)
        layer.lowering = "bitserial"
        layer.reason = "" if planes == layer.N else f"{layer.N} thresholds in {planes} planes"
        layer.reason = (layer.reason + note).removeprefix("; ")
        m = int(shape_of(call.args[1])[0])
        layer.weight_bytes = window.out_channels * window.taps * words(window.group_in) * 4 * m
        return call

    def measured(self, key: str, costs: dict[str, float]) -> Measured | None:
        """What tuning records say of the kinds in doubt; ``None`` where one was not measured."""
        if self.context.records is None or self.context.lowering != "auto":
            return None
        found, kinds = self.context.records.lowering(key), in_doubt(costs)
        if found is None or len(kinds) < 2 or not set(kinds) <= found.seconds.keys():
            return None
        return Measured({kind: found.seconds[kind] for kind in kinds})

    # ---- bytes ------------------------------------------------------------------------

    def bytes_of(self, call: Any, window: Window, compared: float, rival: float) -> Bytes | None:
        """The byte form of a layer; ``None`` where the device has none.

        A rounded one only where that is allowed, or worth a word beside a cost of ``rival``.
        """
        dot, code = self.context.device.cost.dot, code_type(self.context.device)
        if dot is None or code is None:
            return None
        cost = dot * quads(window.group_in) * QUAD / window.group_in + compared
        planes, alpha = array_of(call.args[1]), array_of(call.args[2])
        levels = steps_of(self.step_behind(call)).levels
        if byte_form(planes, alpha, levels, code) is not None:
            return Bytes(cost)
        if self.context.allow_int8 is None and cost >= HINT * rival:
            return None
        near = rounded(planes, alpha, levels, code)
        if byte_form(planes, near.alpha, near.levels, code) is None:
            return None
        return Bytes(cost, near.error, near)

    def refusal(self, found: Bytes) -> str:
        """Why a byte form may not be taken; empty where it may."""
        allowed = self.context.allow_int8
        if found.rounded is None or (allowed is not None and found.error <= allowed):
            return ""
        size = f"rounding to them may change a sum by {found.error:.2%} of its largest value"
        if allowed is None:
            return f"{size}: allow it with --allow-int8"
        return f"{size}, more than the {allowed:.2%} that are allowed"

    def to_bytes(
        self, builder: Any, layer: Layer, call: Any, window: Window, pairs: int, found: Bytes
    ) -> Any:
        layer.lowering, layer.error_bound = "int8", found.error
        layer.weight_bytes = window.out_channels * window.taps * quads(window.group_in) * QUAD
        many = f"{pairs} pairs of planes" if pairs > 1 else "one pair of planes"
        if found.rounded is None:
            layer.reason = f"{many} as bytes, exact"
            return call
        layer.reason = f"{many} as bytes, sums rounded by at most {found.error:.2%} of the largest"
        data = self.with_levels(builder, call.args[0], found.rounded)
        return relax.Call(
            call.op, [data, call.args[1], const(found.rounded.alpha), call.args[3]], call.attrs
        )

    def with_levels(self, builder: Any, data: Any, near: Rounded) -> Any:
        """The step, and the pooling behind it, with rounded levels."""
        key = content(data, near.levels)
        if key not in self.moved:
            call = self.defined[data]
            if op_name(call) == "nn.max_pool2d":
                inner = self.with_levels(builder, call.args[0], near)
                new = substitute(call, {call.args[0]: inner})
            else:
                new = relax.Call(call.op, [*call.args[:3], const(near.levels)], call.attrs)
            expr = builder.emit(new, hint(data))
            self.defined[expr] = new
            self.moved[key] = expr
        return self.moved[key]


def in_doubt(costs: dict[str, float]) -> list[str]:
    """Kinds that may be the fastest, the one that costs least first."""
    kinds = sorted(costs, key=lambda kind: costs[kind])
    return [kind for kind in kinds if costs[kind] < DOUBT * costs[kinds[0]]]


def layer_key(window: Window, bases: int, planes: int, thresholds: int) -> str:
    """What decides how long a layer takes in any lowering; one word, the batch left out."""
    facts = [
        f"{window.height}x{window.width}x{window.in_channels}",
        f"o{window.out_channels}",
        "k{}x{}".format(*window.kernel),
        "s{}x{}".format(*window.stride),
        "p" + "x".join(map(str, window.padding)),
        "d{}x{}".format(*window.dilation),
        f"g{window.groups}",
        f"M{bases}",
        f"P{planes}",
        f"T{thresholds}",
    ]
    return "-".join(facts)
