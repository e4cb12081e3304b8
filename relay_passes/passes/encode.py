"""What each layer's lowering reads, in the place of the levels of its step function.

``bconv2d(step(x))`` becomes the anchor of the layer's lowering, on what its encoding writes of the
step; pooling in between, or in front of the step, is done on that (:mod:`.analysis.readings` has
the cases). On bits ``bitserial_conv2d(pool_bitserial(encode_bitserial(x)))`` pools by OR on
thermometer bits, which are re-coded to the planes that the convolution wants; codes of bytes are
pooled by their maximum. Where what a layer reads is padded by a level, its code is, by the code of
that level.

``product(step(x), step(y))`` becomes ``bitserial_product`` of what ``bitserial`` writes of both.

A lowering may refuse a reading; then the layer goes back to float, and its row says why. Steps
whose levels are read by float operators as well stay, beside the code. Equal codes are one.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.readings import reading_of
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.lowerings import bit_products
from abc_tvm.relay_passes.lowerings.candidate import Candidate
from abc_tvm.relay_passes.lowerings.table import FLOAT, lowering_of
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import Content, content, emit, hint, op_name, rebuild


class Encode:
    """Every ``abc.bconv2d`` becomes the anchor of its layer's lowering."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        defined: dict[relax.Var, relax.Expr] = {}
        emitted: dict[Content, relax.Var] = {}

        def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            new = value
            if op_name(value) == "abc.bconv2d":
                new = self.convolution(_Emitter(builder, emitted), hint(var), value, defined)
            if op_name(value) == "abc.product":
                new = self.product(builder, _Emitter(builder, emitted), hint(var), value, defined)
            expr = emit(builder, new, hint(var))
            defined[expr] = new
            return expr

        return rebuild(mod, visit)

    def product(
        self,
        builder: relax.BlockBuilder,
        emitter: _Emitter,
        name: str,
        call: relax.Call,
        defined: dict[relax.Var, relax.Expr],
    ) -> relax.Call:
        """A product of two steps on bits, or, where one cannot be written so, on levels."""
        new = bit_products.encode(call, defined, emitter)
        if isinstance(new, str):
            layer = self.context.layers[name]
            layer.lowering, layer.reason = FLOAT, new
            return bit_products.as_matmul(builder, call)
        return new

    def convolution(
        self,
        emitter: _Emitter,
        name: str,
        call: relax.Call,
        defined: dict[relax.Var, relax.Expr],
    ) -> relax.Call:
        layer = self.context.layers[name]
        reading = reading_of(call.args[0], defined)
        candidate = Candidate(call, steps_of(reading.step), self.context.device)
        lowering = lowering_of(layer.lowering)
        anchor = lowering.encode(candidate, reading, emitter, float(layer.error_bound or 0.0))
        if not isinstance(anchor, str) and op_name(anchor) != lowering.anchor.operator:
            raise TypeError(
                f"the lowering {lowering.name!r} gives {op_name(anchor) or anchor!r} for {name}, "
                f"and neither {lowering.anchor.operator} nor a reason"
            )
        if reading.pad is not None and not isinstance(anchor, str):
            padded = lowering.padded(candidate, reading, anchor, emitter)
            if isinstance(padded, str):
                anchor = padded
            else:
                anchor = relax.Call(anchor.op, [padded, *anchor.args[1:]], anchor.attrs)
        if isinstance(anchor, str):
            layer.lowering, layer.reason = FLOAT, anchor
            return lowering_of(FLOAT).taken(call)
        return anchor


class _Emitter:
    """The one call ``abc.<name>`` of some arguments and attributes."""

    def __init__(self, builder: relax.BlockBuilder, emitted: dict[Content, relax.Var]) -> None:
        self.builder, self.emitted = builder, emitted

    def emit(self, hint: str, name: str, args: list[relax.Expr], **attrs: Any) -> relax.Var:
        key = content(name, args, attrs)
        if key not in self.emitted:
            self.emitted[key] = self.builder.emit(make(name, args, **attrs), hint)
        return self.emitted[key]
