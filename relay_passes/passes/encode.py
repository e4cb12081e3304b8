"""Between step functions and convolutions: packed bits in the place of levels.

``bconv2d(step(x))`` becomes ``bitconv2d(encode(x))``; ``bconv2d(max_pool2d(step(x)))`` becomes
``bitconv2d(pool_bits(encode(x)))``, pooling by OR on thermometer bits, which are re-coded to the
planes that the convolution wants (and turned round where a negative scale follows the pooling).

Layers that the chooser runs on bytes read codes instead: ``dotconv2d(encode_bytes(x))``, and
``dotconv2d(pool_codes(encode_bytes(x)))`` with the maximum of codes, which rise with the level.

Steps whose levels are read by float operators as well stay, beside the bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from abc_tvm.compute.geometry import Window, pair
from abc_tvm.relay_passes.analysis.planes_code import Code, best_code, thermometer
from abc_tvm.relay_passes.analysis.step_function import StepFunction, steps_of
from abc_tvm.relay_passes.context import Context, Layer
from abc_tvm.relay_passes.lowerings.int8_form import ByteForm, byte_form
from abc_tvm.relay_passes.ops import conv_window, make, to_float, window_attrs
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
)
from abc_tvm.schedules.families import code_type

STEPS = ("abc.step", "abc.count_step")


class Encode:
    """See the module's text."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        defined: dict[Any, Any] = {}
        self.emitted: dict[Content, Any] = {}

        def visit(builder: relax.BlockBuilder, var: Any, value: Any) -> Any:
            new = value
            if op_name(value) == "abc.bconv2d":
                new = self.convolution(builder, hint(var), value, defined)
            expr = emit(builder, new, hint(var))
            defined[expr] = new
            return expr

        return rebuild(mod, visit)

    def convolution(self, builder: Any, name: str, call: Any, defined: dict[Any, Any]) -> Any:
        window = conv_window(call)
        layer = self.context.layers[name]
        if layer.lowering == "int8":
            return self.on_bytes(builder, layer, call, window, defined)
        found = self.bits(builder, call.args[0], window.groups, defined)
        if found is None:
            layer.lowering, layer.reason = "float", "pooling between activations of two kinds"
            return to_float(call)
        bits, code = found
        return make(
            "bitconv2d",
            [bits, call.args[1], call.args[2]],
            **window_attrs(window),
            kernel=list(window.kernel),
            in_channels=window.in_channels,
            out_channels=window.out_channels,
            base=code.base,
            weights=list(code.weights),
        )

    def on_bytes(
        self, builder: Any, layer: Layer, call: Any, window: Window, defined: dict[Any, Any]
    ) -> Any:
        steps = steps_of(self.step_behind(call.args[0], defined))
        code = code_type(self.context.device)
        form = None
        if code is not None:
            planes, alpha = array_of(call.args[1]), array_of(call.args[2])
            form = byte_form(planes, alpha, steps.levels, code)
        if form is None:
            raise TypeError("a layer that was chosen to run on bytes has no byte form")
        codes = self.codes(builder, call.args[0], window.groups, defined, form, str(code))
        return make(
            "dotconv2d",
            [codes, const(form.weights), const(form.scale)],
            codes=list(form.codes),
            error=float(layer.error_bound or 0.0),
            **window_attrs(window),
            kernel=list(window.kernel),
            in_channels=window.in_channels,
            out_channels=window.out_channels,
            zero=form.zero,
        )

    def step_behind(self, data: Any, defined: dict[Any, Any]) -> Any:
        call = defined[data]
        return defined[call.args[0]] if op_name(call) == "nn.max_pool2d" else call

    def codes(
        self,
        builder: Any,
        data: Any,
        groups: int,
        defined: dict[Any, Any],
        form: ByteForm,
        dtype: str,
    ) -> Any:
        call = defined[data]
        if op_name(call) == "nn.max_pool2d":
            raw = self.encode_bytes(builder, defined[call.args[0]], form.codes, groups, dtype)
            return self.pool_codes(builder, call, raw, (), None)
        pool: Any = defined.get(call.args[0])
        inner: Any = defined.get(pool.args[0]) if op_name(pool) == "nn.max_pool2d" else None
        turned = _turned(steps_of(call), steps_of(inner)) if op_name(inner) in STEPS else None
        if turned is None:
            return self.encode_bytes(builder, call, form.codes, groups, dtype)
        index = tuple(range(len(form.codes)))
        raw = self.encode_bytes(builder, inner, index, groups, dtype)
        return self.pool_codes(builder, pool, raw, form.codes, turned)

    def encode_bytes(
        self, builder: Any, step: Any, codes: tuple[int, ...], groups: int, dtype: str
    ) -> Any:
        count = op_name(step) == "abc.count_step"
        return self.shared(
            builder,
            "codes",
            "encode_bytes",
            list(step.args[:3]) + ([step.args[4]] if count else []),
            codes=list(codes),
            dtype=dtype,
            layout_groups=groups,
            count=int(count),
        )

    def pool_codes(
        self, builder: Any, pool: Any, raw: Any, codes: tuple[int, ...], turned: Any
    ) -> Any:
        """``codes``: of the indices that are pooled; none where codes themselves are."""
        channels = int(shape_of(pool.args[0])[3])
        if turned is None:
            turned = np.zeros(channels, bool)
        args = [raw, const(turned.astype(np.int8))]
        attrs = _pool_attrs(pool, channels)
        return self.shared(builder, "pooled_codes", "pool_codes", args, **attrs, codes=list(codes))

    def bits(
        self, builder: Any, data: Any, groups: int, defined: dict[Any, Any]
    ) -> tuple[Any, Code] | None:
        call = defined[data]
        if op_name(call) == "nn.max_pool2d":
            step = defined[call.args[0]]
            code = best_code(steps_of(step).levels)
            raw = self.encode(builder, step, thermometer(steps_of(step).levels), groups)
            return self.pool(builder, call, raw, code, groups, None), code
        steps = steps_of(call)
        code = best_code(steps.levels)
        pool: Any = defined.get(call.args[0])
        inner: Any = defined.get(pool.args[0]) if op_name(pool) == "nn.max_pool2d" else None
        if op_name(inner) in STEPS:
            turned = _turned(steps, steps_of(inner))
            if turned is None:
                return None
            raw = self.encode(builder, inner, thermometer(steps_of(inner).levels), groups)
            return self.pool(builder, pool, raw, code, groups, turned), code
        return self.encode(builder, call, code, groups), code

    def encode(self, builder: Any, step: Any, code: Code, groups: int) -> Any:
        count = op_name(step) == "abc.count_step"
        return self.shared(
            builder,
            "bits",
            "encode",
            list(step.args[:3]) + ([step.args[4]] if count else []),
            code=code.kind,
            planes=code.planes,
            layout_groups=groups,
            count=int(count),
        )

    def pool(self, builder: Any, pool: Any, raw: Any, code: Code, groups: int, turned: Any) -> Any:
        channels = int(shape_of(pool.args[0])[3])
        if turned is None:
            turned = np.zeros(channels, bool)
        return self.shared(
            builder,
            "pooled_bits",
            "pool_bits",
            [raw, const(turned.astype(np.int8))],
            **_pool_attrs(pool, channels),
            code=code.kind,
            planes=code.planes,
        )

    def shared(self, builder: Any, hint: str, name: str, args: list[Any], **attrs: Any) -> Any:
        """The one call ``abc.<name>`` of these arguments and attributes."""
        key = content(name, args, attrs)
        if key not in self.emitted:
            self.emitted[key] = builder.emit(make(name, args, **attrs), hint)
        return self.emitted[key]


def _pool_attrs(pool: Any, channels: int) -> dict[str, Any]:
    a = pool.attrs
    return {
        "kernel": list(pair(a.pool_size)),
        "strides": list(pair(a.strides)),
        "padding": _padding(pool),
        "dilation": list(pair(a.dilation)),
        "groups": 1,
        "in_channels": channels,
        "out_channels": channels,
    }


def _padding(pool: Any) -> list[int]:
    """Padding, with the rows and columns that ``ceil_mode`` adds."""
    pad = [int(p) for p in pool.attrs.padding]
    if len(pad) == 2:
        pad = [*pad, *pad]
    if pool.attrs.ceil_mode:
        size, stride = pair(pool.attrs.pool_size), pair(pool.attrs.strides)
        dilation = pair(pool.attrs.dilation)
        dims = shape_of(pool.args[0])
        for axis in (0, 1):
            span = (size[axis] - 1) * dilation[axis] + 1
            rest = (int(dims[1 + axis]) + pad[axis] + pad[axis + 2] - span) % stride[axis]
            pad[axis + 2] += (stride[axis] - rest) % stride[axis]
    return pad


def _turned(outer: StepFunction, inner: StepFunction) -> np.ndarray | None:
    """Channels in which ``outer`` reverses the index of ``inner``; ``None`` if it does more."""
    n = len(inner.levels) - 1
    if len(outer.levels) - 1 != n or not inner.rising:
        return None
    channels = len(outer.sense)
    index = StepFunction(outer.thresholds, outer.sense, np.arange(n + 1, dtype=np.float32))
    values = index(np.repeat(inner.levels[:, None], channels, 1))
    forward = np.all(values == np.arange(n + 1)[:, None], axis=0)
    backward = np.all(values == np.arange(n, -1, -1)[:, None], axis=0)
    if not np.all(forward | backward):
        return None
    return np.asarray(backward & ~forward)


def turned_channels(call: Any) -> np.ndarray:
    """Boolean ``[C]`` of an ``abc.pool_bits`` or ``abc.pool_codes``."""
    return array_of(call.args[1]).astype(bool)
