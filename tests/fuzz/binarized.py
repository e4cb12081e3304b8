"""Proposals of binarized networks: activations and weights in many spellings, and whole layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .draft import Draft
from .operators_layers import CHANNELS, batch_norm_of, spatial
from .values import Value

Float32 = npt.NDArray[np.float32]
FEW = 17
"""Sums over at most so many levels and weights are an integer accumulator's."""


def activation(d: Draft, x: Value) -> Value:
    """A step function of ``x``, in one of the spellings."""
    return d.choose(_ACTIVATIONS)(d, x)


def _shift(d: Draft, x: Value) -> Value:
    if d.chance(0.5):
        return x
    shape = (x.shape[1], *(1,) * (x.rank - 2)) if x.rank > 1 and d.chance(0.5) else ()
    return d.op("Add", x, d.constant(d.numbers(shape)))


def _sign(d: Draft, x: Value) -> Value:
    return d.op("Sign", x)


def _where(d: Draft, x: Value) -> Value:
    threshold = d.constant(d.choose((0.0, 0.0, 0.25, -0.5)))
    levels = d.choose(((1.0, -1.0), (-1.0, 1.0), (1.0, 0.0), (0.5, -0.5), (0.75, -0.25)))
    op_type = d.choose(("GreaterOrEqual", "Greater", "Less", "LessOrEqual"))
    operands = (x, threshold) if d.chance(0.8) else (threshold, x)
    condition = d.op(op_type, *operands)
    return d.op("Where", condition, d.constant(levels[0]), d.constant(levels[1]))


def _cast(d: Draft, x: Value) -> Value:
    condition = d.op(d.choose(("GreaterOrEqual", "Greater")), x, d.constant(0.0))
    y = d.op("Cast", condition, to=1)
    if d.chance(0.2):
        return y
    doubled = d.op("Mul", y, d.constant(2.0))
    return d.op("Sub", doubled, d.constant(1.0))


def _clip_round(d: Draft, x: Value) -> Value:
    """The paper's A = 2·[clip(R + v, 0, 1) ≥ 0.5] − 1."""
    clipped = d.op("Clip", _shift(d, x), d.constant(0.0), d.constant(1.0))
    if d.chance(0.5):
        y = d.op("Round", clipped)
    else:
        y = d.op("Cast", d.op("GreaterOrEqual", clipped, d.constant(0.5)), to=1)
    return d.op("Sub", d.op("Mul", y, d.constant(2.0)), d.constant(1.0))


def _bases(d: Draft, x: Value) -> Value:
    """R ≈ Σ β_n A_n with up to three bases."""
    count = d.choose((2, 2, 3))
    terms = []
    for _ in range(count):
        base = d.choose((_clip_round, _where, _cast))(d, x)
        beta = d.choose((1.0, 0.5, 0.75, 0.25)) if d.dyadic else float(d.rng.uniform(0.2, 1.5))
        terms.append(d.op("Mul", base, d.constant(beta)))
    if d.chance(0.5):
        return d.op("Sum", *terms)
    total = terms[0]
    for term in terms[1:]:
        total = d.op("Add", total, term)
    return total


def _k_bits(d: Draft, x: Value) -> Value:
    """DoReFa's and PACT's uniform levels."""
    k = d.choose((1, 2, 2, 3, 4))
    steps = float(2**k if d.dyadic else 2**k - 1)
    high = 1.0 - (1 / steps if d.dyadic else 0)
    if d.chance(0.7):
        y = d.op("Clip", x, d.constant(0.0), d.constant(high))
    else:
        y = d.op("Min", d.op("Max", x, d.constant(0.0)), d.constant(high))
    y = d.op(d.choose(("Round", "Round", "Floor")), d.op("Mul", y, d.constant(steps)))
    return d.op("Div", y, d.constant(steps)) if d.chance(0.8) else y


def _quantised(d: Draft, x: Value) -> Value:
    """QuantizeLinear, Clip, DequantizeLinear."""
    scale, zero = d.constant(d.choose((0.5, 0.25, 1.0))), d.constant(0, np.int8)
    y = d.op("QuantizeLinear", x, scale, zero)
    if d.opset >= 12:
        y = d.op("Clip", y, d.constant(-2, np.int8), d.constant(1, np.int8))
    return d.op("DequantizeLinear", y, scale, zero)


def _straight_through(d: Draft, x: Value) -> Value:
    step = _sign(d, x) if d.chance(0.5) else _where(d, x)
    return d.op("Add", d.op("Sub", step, x), x)


def _bipolar(d: Draft, x: Value) -> Value:
    scale = d.choose((1.0, 0.5))

    def meaning() -> Value:
        condition = d.op("GreaterOrEqual", x, d.constant(0.0))
        return d.op("Where", condition, d.constant(scale), d.constant(-scale))

    return d.dialect("BipolarQuant", (x, d.constant(scale)), meaning)


def _quant(d: Draft, x: Value) -> Value:
    scale = d.choose((1.0, 0.5, 0.25))
    signed, narrow = d.chance(0.5), d.chance(0.3)
    width = d.choose((2, 3, 4))
    rounding = d.choose(("ROUND", "FLOOR", "CEIL"))
    least = -(2 ** (width - 1)) + narrow if signed else 0
    most = 2 ** (width - 1) - 1 if signed else 2**width - 1 - narrow

    def meaning() -> Value:
        y = d.op("Div", x, d.constant(scale))
        y = d.op("Clip", y, d.constant(least), d.constant(most))
        op_type = {"ROUND": "Round", "FLOOR": "Floor", "CEIL": "Ceil"}[rounding]
        return d.op("Mul", d.op(op_type, y), d.constant(scale))

    operands = (x, d.constant(scale), d.constant(0.0), d.constant(float(width)))
    attributes = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": rounding}
    return d.dialect("Quant", operands, meaning, **attributes)


_ACTIVATIONS: tuple[Callable[[Draft, Value], Value], ...] = (
    _sign, _sign, _sign, _where, _where, _cast, _clip_round, _bases, _bases, _k_bits, _k_bits,
    _quantised, _straight_through, _bipolar, _quant,
)  # fmt: skip


def binary_weights(d: Draft, shape: tuple[int, ...]) -> Float32:
    """A tensor of few values: one basis, several, k bits, ternary; scaled or not."""
    signs = d.rng.choice([-1.0, 1.0], shape)
    channel = (shape[0], *(1,) * (len(shape) - 1))
    match int(d.rng.integers(8)):
        case 0 | 1:
            drawn = signs
        case 2:
            drawn = signs * _scales(d, channel)
        case 3 | 4:
            drawn = np.zeros(shape)
            for _ in range(d.choose((2, 3))):
                scale = _scales(d, channel if d.chance(0.5) else ())
                drawn = drawn + scale * d.rng.choice([-1.0, 1.0], shape)
        case 5:
            k = d.choose((2, 3, 4))
            drawn = d.rng.integers(-(2 ** (k - 1)), 2 ** (k - 1), shape) * _scales(d, ())
        case 6:
            drawn = d.rng.choice([-1.0, 0.0, 1.0], shape) * _scales(d, channel)
        case _:
            # Two channels of very different size, or one wild weight.
            drawn = signs * _scales(d, channel)
            place = (int(d.rng.integers(shape[0])), *(slice(None),) * (len(shape) - 1))
            drawn[place] *= 2.0 ** d.choose((-16, -8, 8, 16, 24))
    if d.chance(0.03):
        drawn = drawn * 0
    return np.asarray(drawn, dtype=np.float32)


def stored_weights(d: Draft, array: Float32) -> tuple[Value, Float32]:
    """A tensor of weights, stored or computed from stored ones, and its values."""
    known = [c for c in d.constants if c.shape == array.shape and c.dtype == "float32"]
    if known and d.chance(0.15):
        value = d.choose(known)  # two layers share their weights
    elif d.chance(0.75):
        value = d.constant(array)
    else:
        value = d.choose(_COMPUTED)(d, array)
        d.values.remove(value)
    return value, np.asarray(value.array, dtype=np.float32)


def _scaled_signs(d: Draft, array: Float32) -> Value:
    real = d.constant(array)
    signs = d.op("Sign", real)
    axes = list(range(1, array.ndim))
    if d.opset >= 18:
        mean = d.op("ReduceMean", d.op("Abs", real), d.ints(*axes), keepdims=1)
    else:
        mean = d.op("ReduceMean", d.op("Abs", real), axes=axes, keepdims=1)
    return d.op("Mul", signs, mean)


def _from_bytes(d: Draft, array: Float32) -> Value:
    stored = d.constant(np.sign(array) * d.choose((1, 1, 3)), np.int8)
    scales = d.constant(np.asarray(d.choose((0.5, 0.25, 1.0)), np.float32))
    return d.op("DequantizeLinear", stored, scales, d.constant(0, np.int8))


def _from_comparison(d: Draft, array: Float32) -> Value:
    positive = d.op("Greater", d.constant(array), d.constant(0.0))
    return d.op("Where", positive, d.constant(0.5), d.constant(-0.5))


def _transposed(d: Draft, array: Float32) -> Value:
    order = [1, 0, *range(2, array.ndim)]
    return d.op("Transpose", d.constant(array.transpose(order)), perm=order)


def _normalised(d: Draft, array: Float32) -> Value:
    return batch_norm_of(d, d.constant(array))


def _reshaped(d: Draft, array: Float32) -> Value:
    flat = d.constant(array.reshape(-1))
    return d.op("Reshape", flat, d.ints(*array.shape))


_COMPUTED = (_scaled_signs, _from_bytes, _from_comparison, _transposed, _normalised, _reshaped)


def _scales(d: Draft, shape: tuple[int, ...]) -> Any:
    if d.dyadic:
        return d.rng.choice([0.25, 0.5, 1.0, 1.5, 2.0, -0.5], shape)
    return d.rng.uniform(0.05, 1.5, shape) * d.rng.choice([1, 1, 1, -1], shape)


def _few(x: Value) -> bool:
    return len(np.unique(x.array)) <= FEW


def layer_of(d: Draft, a: Value) -> Value:
    """A convolution or dense layer with few-valued weights on ``a``."""
    if a.rank == 2:
        return _dense(d, a)
    c = a.shape[1]
    groups = d.choose([g for g in (1, 1, 1, 1, 2, c) if c % g == 0])
    out = groups * int(d.rng.integers(1, 6)) if groups > 1 else d.choose(CHANNELS)
    kernel = [min(int(d.choose((1, 2, 3, 3, 3))), n + 1) for n in a.shape[2:]]
    attributes = spatial(d, a.rank - 2, kernel)
    if attributes.get("pads") is not None and d.chance(0.2):
        pads = attributes.pop("pads")
        half = len(pads) // 2
        full = [0, 0, *pads[:half], 0, 0, *pads[half:]]
        a = d.op("Pad", a, d.ints(*full), d.constant(d.choose((0.0, 1.0, -1.0))))
    shape = (out, c // groups, *kernel)
    bias = d.constant(d.numbers((out,))) if d.chance(0.3) else None
    if d.chance(0.15):
        return _spelled_bases(d, a, shape, groups, attributes)
    weight, w = stored_weights(d, binary_weights(d, shape))
    return d.op("Conv", a, weight, bias, group=groups, discrete=_discrete(w, a), **attributes)


def _dense(d: Draft, a: Value) -> Value:
    out = d.choose(CHANNELS)
    weight, w = stored_weights(d, binary_weights(d, (out, a.shape[1])))
    discrete = _discrete(w, a)
    if d.chance(0.4):
        return d.op("MatMul", a, d.constant(w.T), discrete=discrete)
    bias = d.constant(d.numbers((out,))) if d.chance(0.5) else None
    return d.op("Gemm", a, weight, bias, transB=1, discrete=discrete)


def _discrete(w: Float32, a: Value) -> bool:
    """Whether each channel has one integer accumulator: rule E2."""
    flat = np.abs(w.reshape(len(w), -1))
    return _few(a) and all(len(np.unique(row[row != 0])) <= 1 for row in flat)


def _spelled_bases(
    d: Draft, a: Value, shape: tuple[int, ...], groups: int, attributes: dict[str, Any]
) -> Value:
    """Σ α_m Conv(B_m, A), written out; or with the bases stacked as output channels."""
    count = d.choose((2, 3))
    bases = [np.asarray(d.rng.choice([-1.0, 1.0], shape), dtype=np.float32) for _ in range(count)]
    alphas = [float(abs(_scales(d, ()))) for _ in range(count)]
    if groups == 1 and d.chance(0.4):
        y = d.op("Conv", a, d.constant(np.concatenate(bases)), discrete=_few(a), **attributes)
        parts = d.ops("Split", y, outputs=count, axis=1, **_split_attributes(d, count))
    else:
        parts = [
            d.op("Conv", a, d.constant(b), group=groups, discrete=_few(a), **attributes)
            for b in bases
        ]
    scaled = [d.op("Mul", p, d.constant(s)) for p, s in zip(parts, alphas, strict=True)]
    total = scaled[0]
    for term in scaled[1:]:
        total = d.op("Add", total, term)
    return total


def _split_attributes(d: Draft, count: int) -> dict[str, Any]:
    return {"num_outputs": count} if d.opset >= 18 else {}


def step(d: Draft) -> None:
    """An activation alone."""
    activation(d, d.floats(2, 3, 4, 4))


def layer(d: Draft) -> None:
    """Activation, layer, and what stands between them and the next."""
    x = d.floats(4, 4, 4, 2, 3)
    if d.chance(0.35):
        x = _between(d, x)
    a = activation(d, x)
    if d.chance(0.1):
        a = d.op("Neg", a)
    if d.chance(0.1) and a.rank == 4:
        a = d.op("MaxPool", a, kernel_shape=[2, 2], **d.choose(({}, {"strides": [2, 2]})))
    y = layer_of(d, a)
    if d.chance(0.4):
        y = _between(d, y)
    if y.shape == x.shape and d.chance(0.6):
        d.op("Add", *((y, x) if d.chance(0.5) else (x, y)))


def shared(d: Draft) -> None:
    """One activation, read by two layers, once perhaps with the other sign."""
    x = d.floats(4, 4, 2)
    a = activation(d, x)
    b = a
    match int(d.rng.integers(3)):
        case 0:
            b = d.op("Neg", a)
        case 1:
            b = d.op("Mul", a, d.constant(d.choose((-1.0, 2.0, -0.5))))
    y, z = layer_of(d, a), layer_of(d, b)
    if y.shape == z.shape:
        d.op("Add", y, z)


def both_signs(d: Draft) -> None:
    """Two activations of one tensor that differ in their sense alone."""
    x = d.floats(4, 2)
    condition = d.op("GreaterOrEqual", x, d.constant(0.0))
    one, minus = d.constant(1.0), d.constant(-1.0)
    a = d.op("Where", condition, one, minus)
    b = d.op("Where", condition, minus, one)
    layer_of(d, a)
    layer_of(d, b)


def _between(d: Draft, x: Value) -> Value:
    """Batch normalisation, pooling, ReLU and their kin, in any order."""
    for _ in range(d.choose((1, 1, 2, 3))):
        match int(d.rng.integers(6)):
            case 0 | 1 if x.rank >= 2:
                x = batch_norm_of(d, x)
            case 2 if x.rank == 4:
                kernel = [min(2, n) for n in x.shape[2:]]
                attributes = spatial(d, 2, kernel)
                if d.chance(0.2):
                    attributes["ceil_mode"] = 1
                x = d.op("MaxPool", x, kernel_shape=kernel, **attributes)
            case 3:
                x = d.op(d.choose(("Relu", "Relu", "Abs", "Neg")), x)
            case 4:
                x = d.op("PRelu", x, d.constant(np.full((1,) * max(x.rank - 1, 1), 0.25)))
            case _:
                x = d.op("Add", x, d.constant(d.numbers(()) + np.float32(1 / 128)))
    return x
