"""Products of two step functions on bits, as in the attention of binary transformers.

Both factors are packed by their rows. Where the integers that levels stand for lie about 0 in both
(signs; -1, 0 and 1), twice the sum of products of ``K`` channels is

    2 K bx by - sum_pq wx_p wy_q popcount(x_p ^ y_q),

with ``b`` the least integer of a factor and ``w`` what its planes add to it. Else the sum is

    K bx by + by sum_p wx_p popcount(x_p) + bx sum_q wy_q popcount(y_q)
            + sum_pq wx_p wy_q popcount(x_p & y_q).

It is exact, and multiplied with the steps of both factors once. The kernel has the generic
schedule: neither factor is known before a run, so that nothing is packed for one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute.geometry import WORD, words
from abc_tvm.relay_passes.analysis.steps.readings import reading_of
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep, steps_of
from abc_tvm.relay_passes.analysis.weights.common_step import integer_multiples
from abc_tvm.relay_passes.analysis.weights.planes_code import Code, best_code
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const, shape_of
from abc_tvm.targets import Device

from .bitserial import packed_bits
from .codec import Codec, patterns
from .lowering import Emitter

MOST_TERMS = 64
"""Pairs of words in the expression of one element; more are summed up in a loop."""

FLOAT_COST = 4.0
"""A float multiply-accumulate of two computed tensors, where one of a stored layer costs 1.

TVM's own kernel has the generic schedule, whose sums are not vectors: heads of 16 channels take 13
times the time that their bits do, heads of 4 channels 1.3 times (measured on x86)."""

PRODUCT = "abc.bitserial_product"


@dataclass(frozen=True)
class WholeFactor:
    """Levels as ``step`` times integers, and the planes that give those."""

    step: float
    code: Code
    largest: int

    @classmethod
    def of(cls, levels: np.ndarray) -> WholeFactor:
        """The factor of levels float32 ``[N + 1]``.

        Raises:
            NotAStep: They are no multiples of one step.
        """
        found = integer_multiples(levels)
        if found is None:
            raise NotAStep("its levels are no multiples of one step")
        step, whole = found
        return cls(step, best_code(whole.astype(np.float32)), int(np.abs(whole).max()))

    @property
    def base(self) -> int:
        return round(self.code.base)

    @property
    def weights(self) -> list[int]:
        return [round(w) for w in self.code.weights]


def refusal(
    x: np.ndarray, y: np.ndarray, channels: int, device: Device, forced: bool = False
) -> str:
    """Why a product of levels stays in float; empty where it is on bits.

    ``forced``: bits are asked for, whatever they cost.

    Raises:
        NotAStep: Levels of a factor are no multiples of one step.
    """
    left, right = WholeFactor.of(x), WholeFactor.of(y)
    if 2 * channels * left.largest * right.largest >= 2**31:
        return f"sums over {channels} channels may be no integers of 32 bits"
    pairs = left.code.planes * right.code.planes
    cost = pairs * device.cost.pair * words(channels) * WORD / channels / FLOAT_COST
    if cost < 1 or forced:
        return ""
    return (
        f"{pairs} pairs of planes on {channels} channels of {WORD}-bit words would take "
        f"{cost:.1f}x the time of float on {device.name}; force with lowering=bitserial"
    )


def encode(
    call: relax.Call, defined: Mapping[relax.Expr, relax.Expr], emitter: Emitter
) -> relax.Call | str:
    """``abc.product`` on bits, or why that cannot be."""
    readings = [reading_of(x, defined) for x in call.args]
    if any(reading.mixed for reading in readings):
        return "pooling between activations of two kinds"
    factors = [WholeFactor.of(steps_of(reading.step).levels) for reading in readings]
    data = [
        packed_bits(emitter, reading, factor.code, 1)
        for reading, factor in zip(readings, factors, strict=True)
    ]
    left, right = factors
    return make(
        "bitserial_product",
        data,
        rank=int(call.attrs["rank"]),
        unit=float(call.attrs["unit"]) * left.step,
        unit_y=float(call.attrs["unit_y"]) * right.step,
        in_channels=int(shape_of(call.args[0])[3]),
        groups=1,
        base=left.base,
        weights=left.weights,
        base_y=right.base,
        weights_y=right.weights,
    )


def as_matmul(builder: relax.BlockBuilder, call: relax.Call) -> relax.Call:
    """``abc.product`` as the graph's own product, on levels."""
    x, y = call.args
    scale = float(call.attrs["unit"]) * float(call.attrs["unit_y"])
    if int(call.attrs["rank"]) == 3:
        x, y = (builder.emit(relax.op.squeeze(v, [1])) for v in (x, y))
    turned = builder.emit(relax.op.permute_dims(y, [*range(len(shape_of(y)) - 2), -1, -2]))
    if scale == 1:
        return relax.op.matmul(x, turned)
    whole = builder.emit(relax.op.matmul(x, turned))
    return relax.op.multiply(whole, const(np.array(scale, np.float32)))


def codecs(call: relax.Call, sources: Sequence[relax.Call]) -> list[Codec]:
    """How both factors of a product on bits are decoded; ``sources`` are what wrote them."""
    attrs, channels = call.attrs, int(call.attrs["in_channels"])
    both = []
    for suffix, source in zip(("", "_y"), sources, strict=True):
        unit = float(attrs[f"unit{suffix}"])
        weights = unit * np.array([float(w) for w in attrs[f"weights{suffix}"]])
        kinds = patterns(str(source.attrs["code"]), len(weights))
        both.append(Codec(channels, 1, unit * float(attrs[f"base{suffix}"]), weights, kinds))
    return both


def emit_kernel(builder: relax.BlockBuilder, call: relax.Call, name: str) -> relax.Expr:
    """A call of the kernel of an ``abc.bitserial_product``, which has no schedule yet."""
    attrs = call.attrs
    sides = [(int(attrs[f"base{s}"]), [int(w) for w in attrs[f"weights{s}"]]) for s in ("", "_y")]
    rank, scale = int(attrs["rank"]), float(attrs["unit"]) * float(attrs["unit_y"])

    def compute(x: te.Tensor, y: te.Tensor) -> te.Tensor:
        return product(x, y, sides[0], sides[1], int(attrs["in_channels"]), scale, rank)

    return builder.call_te(compute, *call.args, primfunc_name_hint=name)


Side = tuple[int, list[int]]
"""The least integer of a factor, and what each plane adds to it."""


def product(
    x: te.Tensor, y: te.Tensor, left: Side, right: Side, channels: int, scale: float, rank: int
) -> te.Tensor:
    """float32 ``[B, H, T, S]``, or ``[B, T, S]`` of ``rank`` 3.

    ``x`` uint32 ``[B, H, T, P, 1, words]`` and ``y`` ``[B, H, S, Q, 1, words]``: packed rows, whose
    bits past the last channel are 0.
    """
    (base_x, of_x), (base_y, of_y) = left, right
    batch, height, rows, _, _, blocks = x.shape
    columns, count = y.shape[2], int(blocks)
    even = 2 * base_x + sum(of_x) == 0 == 2 * base_y + sum(of_y)

    # Words of one place lie side by side, for a loop over columns.
    turned = te.compute(
        (batch, height, len(of_y), blocks, columns),
        lambda b, h, q, w, s: y[b, h, s, q, 0, w],
        name="turned",
    )
    pairs = [(p, q) for p in range(len(of_x)) for q in range(len(of_y))]

    def both(b: Expr, h: Expr, t: Expr, s: Expr, w: Expr) -> Expr:
        """The weighted counts of one word, int32."""
        total = tirx.const(0, "int32")
        for p, q in pairs:
            one, other = x[b, h, t, p, 0, w], turned[b, h, q, w, s]
            bits = one ^ other if even else one & other
            total = total + _count(bits) * (of_x[p] * of_y[q])
        return total

    counts: Callable[..., Expr]
    if len(pairs) * count > MOST_TERMS:
        word = te.reduce_axis((0, count), name="word")
        summed = te.compute(
            (batch, height, rows, columns),
            lambda b, h, t, s: te.sum(both(b, h, t, s, word), axis=word),
            name="counts",
        )

        def counts(b: Expr, h: Expr, t: Expr, s: Expr) -> Expr:
            return summed[b, h, t, s]
    else:

        def counts(b: Expr, h: Expr, t: Expr, s: Expr) -> Expr:
            total = both(b, h, t, s, tirx.const(0, "int32"))
            for w in range(1, count):
                total = total + both(b, h, t, s, tirx.const(w, "int32"))
            return total

    set_x = None if even or base_y == 0 else _set_bits(x, of_x, "set_x")
    set_y = None if even or base_x == 0 else _set_bits(y, of_y, "set_y")
    start = tirx.const(channels * base_x * base_y * (2 if even else 1), "int32")
    factor = tirx.const(np.float32(scale / 2 if even else scale), "float32")

    def value(*index: Expr) -> Expr:
        b, h, t, s = index if rank == 4 else (index[0], tirx.const(0, "int32"), *index[1:])
        total = start - counts(b, h, t, s) if even else start + counts(b, h, t, s)
        if set_x is not None:
            total = total + set_x[b, h, t] * base_y
        if set_y is not None:
            total = total + set_y[b, h, s] * base_x
        return total.astype("float32") * factor

    outer = (batch, height) if rank == 4 else (batch,)
    return te.compute((*outer, rows, columns), value, name="product")


def _set_bits(data: te.Tensor, weights: list[int], name: str) -> te.Tensor:
    """Weighted counts of the bits that are set in every row, int32 ``[B, H, T]``."""

    def count(b: Expr, h: Expr, t: Expr) -> Expr:
        total = tirx.const(0, "int32")
        for p, weight in enumerate(weights):
            for w in range(int(data.shape[5])):
                total = total + _count(data[b, h, t, p, 0, w]) * weight
        return total

    return te.compute(tuple(data.shape[:3]), count, name=name)


def _count(word: Expr) -> Expr:
    return tirx.popcount(word).astype("int32")
