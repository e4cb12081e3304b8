"""Operators that know the layout of an image: how each is written in NHWC.

Every handler takes the old variable and its call, and returns where its value lies, or ``None``
to leave the operator as the graph has it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import tvm
from tvm import relax

from abc_tvm.compute.geometry import pair
from abc_tvm.relay_passes.passes.layout import (
    TO_NCHW,
    TO_NHWC,
    Layout,
    Placed,
    Stacked,
    Value,
    flattened,
    is_flatten,
)
from abc_tvm.relay_passes.rewrite import const, constant, dtype_of, hint, op_name, shape_of


class LayoutOps(ABC):
    """Handlers ``on_<operator>``; :class:`.canonicalise._Walk` walks the graph with them."""

    to: Layout
    tuples: dict[Any, list[Value]]
    conv_names: list[str]
    dense_names: list[str]
    dense: set[str]
    counts: dict[str, int]

    @abstractmethod
    def get(self, expr: Any) -> Value:
        """Where the value of an old expression lies."""

    @abstractmethod
    def real(self, value: Value) -> Placed:
        """One tensor: stacked slices are put together."""

    @abstractmethod
    def apply(self, name: str, *args: Value) -> Value:
        """Emit an element-wise operator."""

    def on_nn_conv2d(self, var: Any, call: Any) -> Value | None:
        name = self.name("conv")  # names go by the order of all convolutions
        weight = constant(self.get(call.args[1]).expr)  # type: ignore[union-attr]
        if weight is None or str(call.attrs.data_layout) != "NCHW" or not _is_float32(call):
            return None
        data = self.to.nhwc(self.real(self.get(call.args[0])))
        pad = [int(p) for p in call.attrs.padding]
        return Placed(
            self.to.layer(
                relax.op.nn.conv2d(
                    data,
                    const(weight.transpose(TO_NHWC)),
                    strides=pair(call.attrs.strides),
                    padding=tuple(pad),
                    dilation=pair(call.attrs.dilation),
                    groups=int(call.attrs.groups),
                    data_layout="NHWC",
                    kernel_layout="OHWI",
                ),
                name,
            ),
            "nhwc",
        )

    def on_matmul(self, var: Any, call: Any) -> Value | None:
        name = self.name("dense")
        value = self.real(self.get(call.args[0]))
        weight = constant(self.get(call.args[1]).expr)  # type: ignore[union-attr]
        if weight is None or weight.ndim != 2 or len(shape_of(call.args[0])) != 2:
            return None
        if not _is_float32(call):
            return None
        features = weight.shape[1]
        if value.kind in ("flat_chw", "flat_hwc"):
            _, h, w, c = shape_of(value.expr)
            order = (c, h, w) if value.kind == "flat_chw" else (h, w, c)
            kernel = weight.T.reshape(features, *order)
            if value.kind == "flat_chw":
                kernel = kernel.transpose(TO_NHWC)
            data = value.expr
        else:
            kernel = weight.T.reshape(features, 1, 1, -1)
            data = self.to.dense(value)
        conv = relax.op.nn.conv2d(data, const(kernel), data_layout="NHWC", kernel_layout="OHWI")
        layer = self.to.layer(conv, name)
        self.dense.add(hint(layer))
        return Placed(layer, "dense")

    def name(self, kind: str) -> str:
        names = self.conv_names if kind == "conv" else self.dense_names
        i = self.counts[kind]
        self.counts[kind] += 1
        name = names[i] if i < len(names) else f"{kind}_{i}"
        # A variable called so would take the function's name away.
        return "main_" if name == "main" else name

    def on_nn_batch_norm(self, var: Any, call: Any) -> Value | None:
        stats = [constant(self.get(a).expr) for a in call.args[1:]]  # type: ignore[union-attr]
        if any(s is None for s in stats) or int(call.attrs.axis) != 1 or not _is_float32(call):
            return None
        gamma, beta, mean, variance = (np.asarray(s, np.float32) for s in stats)
        if not call.attrs.scale:
            gamma = np.ones_like(gamma)
        if not call.attrs.center:
            beta = np.zeros_like(beta)
        scale = (1 / np.sqrt(variance + np.float32(call.attrs.epsilon))).astype(np.float32) * gamma
        shift = beta - mean * scale
        value = self.real(self.get(call.args[0]))
        rank = 4 if value.kind == "nhwc" else 2
        if value.kind == "plain":
            rank = len(shape_of(value.expr))
        shape = (1, -1) + (1,) * (rank - 2)
        x = self.apply("multiply", value, Placed(const(scale.reshape(shape))))
        y = self.apply("add", x, Placed(const(shift.reshape(shape))))
        self.tuples[var] = [y, Placed(call.args[3]), Placed(call.args[4])]
        return y

    def pool(self, var: Any, call: Any) -> Value | None:
        if str(call.attrs.layout) != "NCHW":
            return None
        data = self.to.nhwc(self.real(self.get(call.args[0])))
        a = call.attrs
        make = relax.op.nn.max_pool2d if "max" in str(call.op.name) else relax.op.nn.avg_pool2d
        expr = make(
            data,
            pool_size=pair(a.pool_size),
            strides=pair(a.strides),
            padding=tuple(int(p) for p in a.padding),
            dilation=pair(a.dilation),
            ceil_mode=bool(a.ceil_mode),
            count_include_pad=bool(a.count_include_pad),
            layout="NHWC",
        )
        return Placed(self.to.op(expr, hint(var)), "nhwc")

    on_nn_max_pool2d = pool
    on_nn_avg_pool2d = pool

    def on_nn_adaptive_avg_pool2d(self, var: Any, call: Any) -> Value | None:
        size = [int(d) for d in call.attrs.output_size or []]
        value = self.real(self.get(call.args[0]))
        if size != [1, 1]:
            return None
        return Placed(self.to.op(relax.op.mean(self.to.nhwc(value), [1, 2], True)), "nhwc")

    def reduce(self, var: Any, call: Any) -> Value | None:
        value = self.get(call.args[0])
        name = op_name(call)
        axes = [int(a) for a in call.attrs.axis or []]
        if isinstance(value, Stacked):
            if axes not in ([value.axis], [value.axis - value.rank]) or name not in ("sum", "mean"):
                return None
            total: Value = value.slices[0]
            for part in value.slices[1:]:
                total = self.apply("add", total, part)
            if name == "mean":
                count = np.array(len(value.slices), np.float32)
                total = self.apply("divide", total, Placed(const(count)))
            if call.attrs.keepdims:
                return Stacked((self.real(total),), value.axis, value.rank)
            return total
        if name == "mean" and value.kind == "nhwc" and sorted(a % 4 for a in axes) == [2, 3]:
            out = self.to.op(relax.op.mean(value.expr, [1, 2], True))
            return Placed(out, "nhwc" if call.attrs.keepdims else "dense")
        return None

    on_sum = reduce
    on_mean = reduce

    def on_permute_dims(self, var: Any, call: Any) -> Value | None:
        value = self.real(self.get(call.args[0]))
        axes = [int(a) for a in call.attrs.axes] if call.attrs.axes is not None else None
        if value.kind == "plain" and axes == TO_NCHW:
            return Placed(value.expr, "nhwc")
        if value.kind == "nhwc" and axes == TO_NHWC:
            return Placed(value.expr, native=True)
        return None

    def on_reshape(self, var: Any, call: Any) -> Value | None:
        value = self.get(call.args[0])
        new = tuple(int(d) if isinstance(d, tvm.tirx.IntImm) else d for d in call.args[1].values)
        old = shape_of(call.args[0])
        if isinstance(value, Stacked):
            one = (*old[: value.axis], *old[value.axis + 1 :])
            return value.slices[0] if len(value.slices) == 1 and same_shape(new, one) else None
        if is_flatten(old, new) and (value.kind == "nhwc" or value.native):
            return flattened(value)
        if value.kind == "dense" and same_shape(new, (*old, 1, 1)):
            return Placed(value.expr, "nhwc")
        if len(old) == 4 and len(new) == 5 and value.kind in ("plain", "nhwc"):
            for axis in range(5):
                if new[axis] == 1 and same_shape(new[:axis] + new[axis + 1 :], old):
                    return Stacked((value,), axis)
        return None

    def on_squeeze(self, var: Any, call: Any) -> Value | None:
        value = self.get(call.args[0])
        rank = len(shape_of(call.args[0]))
        axes = [int(a) % rank for a in call.attrs.axis or []]
        if isinstance(value, Stacked):
            return value.slices[0] if axes == [value.axis] and len(value.slices) == 1 else None
        if value.kind == "nhwc" and sorted(axes) == [2, 3]:
            return Placed(value.expr, "dense")
        return None

    def on_expand_dims(self, var: Any, call: Any) -> Value | None:
        value = self.get(call.args[0])
        axes = [int(a) for a in call.attrs.axis]
        rank = len(shape_of(call.args[0])) + 1
        if isinstance(value, Stacked) or rank not in (3, 5) or len(axes) != 1:
            return None
        return Stacked((value,), axes[0] % rank, rank)

    def on_concat(self, var: Any, call: Any) -> Value | None:
        source = call.args[0]
        fields = source.fields if isinstance(source, relax.Tuple) else None
        parts = [self.get(f) for f in fields] if fields is not None else self.tuples.get(source)
        if not parts:
            return None
        axis = int(call.attrs.axis) if call.attrs.axis is not None else 0
        first = parts[0]
        if isinstance(first, Stacked):
            axis %= first.rank
            same = [p for p in parts if isinstance(p, Stacked) and p.axis == axis]
            if len(same) == len(parts):
                return Stacked(tuple(s for p in same for s in p.slices), axis, first.rank)
        placed = [self.real(p) for p in parts]
        if all(p.kind == "nhwc" for p in placed):
            to = {0: 0, 1: 3, 2: 1, 3: 2}[axis % 4]
            return Placed(self.to.op(relax.op.concat([p.expr for p in placed], to)), "nhwc")
        if all(p.kind == "dense" for p in placed) and axis % 2 == 1:
            return Placed(self.to.op(relax.op.concat([p.expr for p in placed], 3)), "dense")
        return None

    def on_stack(self, var: Any, call: Any) -> Value | None:
        source = call.args[0]
        fields = source.fields if isinstance(source, relax.Tuple) else None
        parts = [self.get(f) for f in fields] if fields is not None else self.tuples.get(source)
        if not parts or not all(isinstance(p, Placed) for p in parts):
            return None
        rank = len(shape_of(self.to.builder.normalize(call)))
        return Stacked(tuple(self.real(p) for p in parts), int(call.attrs.axis or 0) % rank, rank)

    def on_broadcast_to(self, var: Any, call: Any) -> Value | None:
        same = same_shape(shape_of(call.args[0]), shape_of(var))
        return self.get(call.args[0]) if same else None


def _is_float32(call: Any) -> bool:
    """Whether an operator reads float32; others stay as the graph has them."""
    return dtype_of(call.args[0]) == "float32"


def same_shape(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two shapes are equal, symbolic dimensions by name."""
    return len(a) == len(b) and all(
        (x == y) if isinstance(x, int) and isinstance(y, int) else str(x) == str(y)
        for x, y in zip(a, b, strict=True)
    )
