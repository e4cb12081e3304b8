"""Bits or floats, layer by layer: never a slower layer than the float one.

A pair of planes costs ``device.cost.pair`` of a float multiply-accumulate; input channels fill up
whole words; and every input element is compared with every threshold once, at the cost of a
multiply-accumulate each. Where the planes cost more than the float convolution, ``abc.bconv2d``
goes back to ``nn.conv2d`` on the levels, and the layer's row says by how much.

Where tuning has measured the layer in both forms, what it measured decides instead.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from abc_tvm.compute.geometry import WORD, Window, words

from .context import Context, Measured, Rivals
from .fold_thresholds import steps_of
from .ops import conv_window
from .planes_code import best_code
from .recognise_activations import to_float
from .rewrite import emit, hint, op_name, rebuild, shape_of

BITS, FLOAT = "bits", "float"
"""Kinds of kernels that a layer can run on, as tuning records name them."""


class ChooseLowering:
    """See the module's text."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        defined: dict[Any, Any] = {}

        def visit(builder: relax.BlockBuilder, var: Any, value: Any) -> Any:
            new = self.choose(hint(var), value, defined)
            expr = emit(builder, new, hint(var))
            defined[expr] = new
            return expr

        return rebuild(mod, visit)

    def choose(self, name: str, call: Any, defined: dict[Any, Any]) -> Any:
        if op_name(call) != "abc.bconv2d":
            return call
        layer = self.context.layers[name]
        window = conv_window(call)
        source = defined[call.args[0]]
        if op_name(source) == "nn.max_pool2d":
            source = defined[source.args[0]]
        steps = steps_of(source)
        planes = best_code(steps.levels).planes
        pairs = planes * int(shape_of(call.args[1])[0])
        fill = window.group_in / (words(window.group_in) * WORD)
        thresholds = len(steps.thresholds)
        compared = thresholds * window.height * window.width * window.in_channels / window.macs
        ratio = pairs * self.context.device.cost.pair / fill + compared
        key = layer_key(window, pairs // planes, planes, thresholds)
        self.context.rivals[name] = Rivals(key, ratio)
        measured = self.measured(key)
        if measured is not None and measured.winner == FLOAT:
            layer.reason = (
                f"measured on {self.context.device.name}: float {_us(measured, FLOAT)}, "
                f"bits {_us(measured, BITS)}"
            )
            return to_float(call)
        if ratio > 1 and measured is None and self.context.lowering != "bitserial":
            why = f"{pairs} pairs of planes"
            if compared > 0.25:
                why += f" behind {thresholds} thresholds"
            if fill < 0.75:
                why += f" on {window.group_in} channels of {WORD}-bit words"
            layer.reason = (
                f"{why} would take {ratio:.1f}x the time of float on {self.context.device.name}; "
                "force with lowering=bitserial"
            )
            return to_float(call)
        layer.lowering = "bitserial"
        layer.reason = "" if planes == layer.N else f"{layer.N} thresholds in {planes} planes"
        m = int(shape_of(call.args[1])[0])
        layer.weight_bytes = window.out_channels * window.taps * words(window.group_in) * 4 * m
        return call

    def measured(self, key: str) -> Measured | None:
        """What tuning records say of a layer, where they are asked for both forms."""
        if self.context.records is None or self.context.lowering != "auto":
            return None
        found = self.context.records.lowering(key)
        return found if found is not None and {BITS, FLOAT} <= found.seconds.keys() else None


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


def _us(measured: Measured, kind: str) -> str:
    return f"{measured.seconds[kind] * 1e6:.1f} µs"
