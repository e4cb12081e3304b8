"""Proposals: convolutions, dense layers, pooling, normalisation, resizing, quantisation."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from .draft import Draft
from .onnx_node import RejectedError
from .values import Value

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 31, 32, 33)


def spatial(d: Draft, rank: int, kernel: list[int]) -> dict[str, Any]:
    """Strides, dilations and padding of a window in ``rank`` dimensions."""
    attributes: dict[str, Any] = {}
    if d.chance(0.4):
        attributes["strides"] = [int(d.rng.integers(1, 4)) for _ in range(rank)]
    if d.chance(0.15):
        attributes["dilations"] = [int(d.rng.integers(1, 3)) for _ in range(rank)]
    kind = d.rng.random()
    if kind < 0.15:
        attributes["auto_pad"] = d.choose(("SAME_UPPER", "SAME_LOWER", "VALID"))
    elif kind < 0.65:
        low = [int(d.rng.integers(0, k)) for k in kernel]
        high = low if d.chance(0.7) else [int(d.rng.integers(0, k)) for k in kernel]
        attributes["pads"] = [*low, *high]
    return attributes


def weights(d: Draft, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Float weights; now and then a channel or a single value of another magnitude."""
    fan = int(np.prod(shape[1:])) or 1
    drawn = d.numbers(shape, scale=float(1 / np.sqrt(fan)))
    if d.chance(0.08):
        drawn = drawn.copy()
        drawn[int(d.rng.integers(shape[0]))] *= np.float32(2.0 ** d.choose((-20, -12, 12, 20)))
    elif d.chance(0.05):
        drawn = np.zeros_like(drawn)
    return drawn


def convolution(d: Draft) -> None:
    x = d.floats(4, 4, 3) if d.chance(0.95) else d.floats(3, 5)
    c = x.shape[1]
    groups = d.choose([g for g in (1, 1, 1, 2, 3, 4, c) if c % g == 0])
    out = groups * int(d.rng.integers(1, 6)) if groups > 1 else d.choose(CHANNELS)
    kernel = [int(d.rng.integers(1, min(4, n + d.chance(0.1)) + 1)) for n in x.shape[2:]]
    shape = (out, c // groups, *kernel)
    bias = d.constant(d.numbers((out,)) + np.float32(1 / 128)) if d.chance(0.6) else None
    attributes = spatial(d, x.rank - 2, kernel)
    d.op("Conv", x, d.constant(weights(d, shape)), bias, group=groups, **attributes)


def transposed(d: Draft) -> None:
    x = d.floats(4, 4, 3)
    c = x.shape[1]
    groups = d.choose([g for g in (1, 1, 1, 2, c) if c % g == 0])
    per_group = int(d.rng.integers(1, 5))
    rank = x.rank - 2
    kernel = [int(d.rng.integers(1, 5)) for _ in range(rank)]
    attributes: dict[str, Any] = {"group": groups}
    strides = [int(d.rng.integers(1, 4)) for _ in range(rank)]
    if d.chance(0.7):
        attributes["strides"] = strides
    else:
        strides = [1] * rank
    if d.chance(0.15):
        attributes["dilations"] = [int(d.rng.integers(1, 3)) for _ in range(rank)]
    kind = d.rng.random()
    if kind < 0.45:
        attributes["pads"] = [int(d.rng.integers(0, k)) for k in kernel] * 2
    elif kind < 0.55:
        attributes["auto_pad"] = d.choose(("SAME_UPPER", "SAME_LOWER"))
    elif kind < 0.65:
        sizes = zip(x.shape[2:], strides, strict=True)
        attributes["output_shape"] = [n * s for n, s in sizes]
    if d.chance(0.2) and max(strides) > 1:
        attributes["output_padding"] = [int(d.rng.integers(0, s)) for s in strides]
    weight = d.constant(weights(d, (c, per_group, *kernel)))
    bias = d.constant(d.numbers((groups * per_group,))) if d.chance(0.5) else None
    d.op("ConvTranspose", x, weight, bias, **attributes)


def dense(d: Draft) -> None:
    x = d.floats(2, 2, 2, 3, 4)
    out = d.choose(CHANNELS)
    if x.rank == 2 and d.chance(0.6):
        transposed_weight = d.chance(0.6)
        shape = (out, x.shape[1]) if transposed_weight else (x.shape[1], out)
        attributes: dict[str, Any] = {"transB": int(transposed_weight)}
        if d.chance(0.2):
            attributes.update(alpha=0.5, beta=2.0)
        bias = d.constant(d.numbers(d.choose(((out,), (1, out), ())))) if d.chance(0.6) else None
        d.op("Gemm", x, d.constant(weights(d, shape)), bias, **attributes)
    else:
        d.op("MatMul", x, d.constant(d.numbers((x.shape[-1], out), 0.3)))


def matmul_two(d: Draft) -> None:
    x = d.floats(2, 3, 4)
    y = d.pick(lambda v: v.dtype == "float32" and v.rank == x.rank)
    if y.shape[-2] != x.shape[-1]:
        order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
        y = d.op("Transpose", y, perm=order)
    d.op("MatMul", x, y)


def pool(d: Draft) -> None:
    x = d.floats(4, 4, 3)
    kernel = [int(d.rng.integers(1, min(4, n + d.chance(0.1)) + 1)) for n in x.shape[2:]]
    attributes = spatial(d, x.rank - 2, kernel)
    op_type = d.choose(("MaxPool", "MaxPool", "AveragePool"))
    if op_type == "AveragePool" and d.chance(0.5):
        attributes["count_include_pad"] = 1
    if op_type == "AveragePool" and d.opset < 19:
        attributes.pop("dilations", None)
    if d.chance(0.25):
        attributes["ceil_mode"] = 1
    d.op(op_type, x, kernel_shape=kernel, **attributes)


def global_pool(d: Draft) -> None:
    d.op(d.choose(("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool")), d.floats(4, 3))


def batch_norm(d: Draft) -> None:
    batch_norm_of(d, d.floats(4, 4, 3, 2))


def batch_norm_of(d: Draft, x: Value) -> Value:
    """A batch normalisation; with dyadic numbers its standard deviations are powers of two."""
    c = x.shape[1]
    epsilon = float(2.0**-10) if d.dyadic else d.choose((1e-5, 1e-3))
    scale = d.numbers((c,))
    if d.dyadic:
        scale = np.asarray(d.rng.choice([-2, -1, -0.5, 0.5, 1, 2], c), dtype=np.float32)
        if d.chance(0.2):
            scale[0] = 0
        variance = np.asarray(d.rng.choice([0.25, 1.0, 4.0], c) - epsilon, dtype=np.float32)
    else:
        variance = np.abs(d.numbers((c,))) + np.float32(0.1)
    parts = [scale, d.numbers((c,)), d.numbers((c,)), variance]
    return d.op("BatchNormalization", x, *(d.constant(p) for p in parts), epsilon=epsilon)


def normalisation(d: Draft) -> None:
    match int(d.rng.integers(5)):
        case 0:
            x = d.floats(4, 3)
            c = x.shape[1]
            if prod(x.shape[2:]) == 1:
                raise RejectedError("the spread of one number is rounding alone")
            d.op(
                "InstanceNormalization", x, d.constant(d.numbers((c,))), d.constant(d.numbers((c,)))
            )
        case 1:
            if d.opset < 17:
                raise RejectedError("opset")
            x = d.floats(2, 3, 4)
            shape = x.shape[-1:]
            bias = d.constant(d.numbers(shape)) if d.chance(0.7) else None
            d.op("LayerNormalization", x, d.constant(d.numbers(shape)), bias, axis=-1)
        case 2:
            if d.opset < 21:
                raise RejectedError("opset")
            x = d.floats(4, 3)
            c = x.shape[1]
            groups = d.choose([g for g in (1, 2, 3, 4) if c % g == 0])
            scale, bias = d.constant(d.numbers((c,))), d.constant(d.numbers((c,)))
            d.op("GroupNormalization", x, scale, bias, num_groups=groups)
        case 3:
            d.op("LRN", d.floats(4), size=d.choose((1, 3, 5)), alpha=0.01)
        case _:
            d.op("LpNormalization", d.floats(2, 3, 4), axis=d.choose((-1, 1)), p=d.choose((1, 2)))


def softmax(d: Draft) -> None:
    x = d.floats(2, 3, 4)
    axis = int(d.rng.integers(-x.rank, x.rank))
    if d.open_batch and axis % x.rank == 0:
        axis = -1
    d.op(d.choose(("Softmax", "Softmax", "LogSoftmax", "Hardmax")), x, axis=axis)


def resize(d: Draft) -> None:
    x = d.floats(4, 4, 3)
    mode = d.choose(("nearest", "nearest", "linear", "cubic"))
    if mode == "cubic" and x.rank != 4:
        mode = "linear"
    attributes: dict[str, Any] = {"mode": mode}
    transform = d.choose(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    attributes["coordinate_transformation_mode"] = transform
    if mode == "nearest":
        rounding = ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil")
        attributes["nearest_mode"] = d.choose(rounding)
    ratio = (0.5, 2.0, 2.0, 1.5, 3.0)
    if d.chance(0.6) or d.open_batch:
        scales = [1.0, 1.0, *(d.choose(ratio) for _ in x.shape[2:])]
        d.op("Resize", x, None, d.constant(scales), **attributes)
    else:
        sizes = [*x.shape[:2], *(max(1, int(n * d.choose(ratio))) for n in x.shape[2:])]
        d.op("Resize", x, None, None, d.ints(*sizes), **attributes)


def quantise(d: Draft) -> None:
    x = d.floats()
    signed = d.chance(0.5)
    zero = 0 if signed or d.chance(0.3) else d.choose((0, 128, 7))
    kind = np.int8 if signed else np.uint8
    scale = d.constant(2.0 ** float(d.rng.integers(-5, 1)) if d.dyadic else 0.03)
    point = d.constant(zero, kind)
    y = d.op("QuantizeLinear", x, scale, point)
    if d.chance(0.9):
        d.op("DequantizeLinear", y, scale, point)


def integer_layer(d: Draft) -> None:
    """Layers of bytes: MatMulInteger, QLinearMatMul, ConvInteger, QLinearConv."""
    x = d.floats(2, 4)
    scale, point = d.constant(d.choose((0.5, 0.25))), d.constant(d.choose((0, 3, 128)), np.uint8)
    q = d.op("QuantizeLinear", x, scale, point)
    kind = d.choose((np.int8, np.uint8))
    zero = d.constant(0 if kind is np.int8 else 100, kind)
    scales = (d.constant(0.5), d.constant(2.0))
    signed = kind is np.int8
    shape = (x.shape[1], 5) if x.rank == 2 else (5, x.shape[1], 1, 1)
    w = d.constant(d.rng.integers(-9 if signed else 80, 9 if signed else 120, shape), kind)
    if d.chance(0.5):
        op_type = "MatMulInteger" if x.rank == 2 else "ConvInteger"
        y = d.op(op_type, q, w, point, zero)
        d.op("Cast", y, to=1)
    else:
        op_type = "QLinearMatMul" if x.rank == 2 else "QLinearConv"
        y = d.op(op_type, q, scale, point, w, scales[0], zero, scales[1], d.constant(90, np.uint8))
        d.op("DequantizeLinear", y, scales[1], d.constant(90, np.uint8))


def other_width(d: Draft) -> None:
    """A layer of float16 or float64, between casts."""
    x = d.floats(2, 4)
    kind = d.choose((np.float16, np.float64))
    narrow = d.op("Cast", x, to=10 if kind is np.float16 else 11)
    if x.rank == 2:
        w = d.constant(d.numbers((x.shape[1], 3), 0.3), kind)
        y = d.op("MatMul", narrow, w)
    else:
        w = d.constant(d.numbers((3, x.shape[1], 1, 1), 0.3), kind)
        y = d.op("Conv", narrow, w, d.constant(d.numbers((3,)), kind))
    d.op("Cast", y, to=1)


def lp_pool(d: Draft) -> None:
    x = d.floats(4)
    if d.chance(0.5):
        d.op("GlobalLpPool", x, p=d.choose((1, 2)))
    else:
        d.op("LpPool", x, kernel_shape=[min(2, n) for n in x.shape[2:]], p=d.choose((1, 2)))
