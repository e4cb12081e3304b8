"""Proposals: element-wise operators, comparisons, types, activation functions."""

from __future__ import annotations

import numpy as np

from .draft import Draft
from .onnx_node import RejectedError
from .values import Value

UNARY_ROUNDING = (
    "Sigmoid",
    "Tanh",
    "Exp",
    "Sqrt",
    "Erf",
    "Softplus",
    "Softsign",
    "Sin",
    "Cos",
    "Atan",
    "Reciprocal",
    "Log",
    "Sinh",
    "Cosh",
    "Asinh",
)
UNARY_SELECTING = ("Relu", "Abs", "Neg", "Floor", "Ceil", "Round", "Sign", "Identity")
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}


def unary(d: Draft) -> None:
    x = d.floats()
    if d.chance(0.35 if not d.dyadic else 0.08):
        op_type = d.choose(UNARY_ROUNDING)
        if op_type in ("Sqrt", "Log", "Reciprocal"):
            x = d.op("Add", d.op("Abs", x), d.constant(0.5))
        d.op(op_type, x)
    else:
        d.op(d.choose(UNARY_SELECTING), x)


def activation(d: Draft) -> None:
    x = d.floats()
    match int(d.rng.integers(11)):
        case 0:
            d.op("LeakyRelu", x, alpha=d.choose((0.25, 0.01, 0.5, -0.5)))
        case 1:
            d.op("Elu", x, alpha=d.choose((1.0, 0.5)))
        case 2:
            d.op("Selu", x)
        case 3:
            d.op("HardSigmoid", x, **d.choose(({}, {"alpha": 0.25, "beta": 0.5})))
        case 4:
            if d.opset < 14:
                raise RejectedError("opset")
            d.op("HardSwish", x)
        case 5:
            d.op("ThresholdedRelu", x, alpha=d.choose((0.5, 1.0)))
        case 6:
            d.op("Celu", x, alpha=d.choose((1.0, 2.0)))
        case 7:
            if d.opset < 20:
                raise RejectedError("opset")
            d.op("Gelu", x, approximate=d.choose(("none", "tanh")))
        case 8 | 9:
            slopes = d.numbers(_slope_shape(d, x)) / 4
            d.op("PRelu", x, d.constant(slopes))
        case _:
            if d.opset < 18:
                raise RejectedError("opset")
            d.op("Mish", x)


def _slope_shape(d: Draft, x: Value) -> tuple[int, ...]:
    if x.rank >= 3 and d.chance(0.8):
        return (x.shape[1], *(1,) * (x.rank - 2))
    return (x.shape[-1],) if x.rank and d.chance(0.5) else (1,)


def clip(d: Draft) -> None:
    x = d.floats()
    low = d.constant(d.choose((-1.0, 0.0, -2.0, -0.5))) if d.chance(0.85) else None
    high = d.constant(d.choose((1.0, 6.0, 2.0, 0.5))) if d.chance(0.85) else None
    d.op("Clip", x, low, high)


def binary_constant(d: Draft) -> None:
    x = d.floats()
    op_type = d.choose(("Add", "Sub", "Mul", "Div", "Max", "Min"))
    c = d.numbers(broadcast_shape(d, x))
    if op_type == "Div":
        c = np.asarray(2.0 ** np.round(c), dtype=np.float32) if d.dyadic else np.abs(c) + 0.5
    elif op_type in ("Add", "Sub") and d.chance(0.3):
        c = c + np.float32(1 / 64)  # keeps sums away from zero
    stored = d.constant(c)
    operands = (x, stored) if op_type == "Div" or d.chance(0.7) else (stored, x)
    d.op(op_type, *operands)


def broadcast_shape(d: Draft, x: Value) -> tuple[int, ...]:
    if x.rank == 0 or d.chance(0.25):
        return ()
    if x.rank >= 3 and d.chance(0.6):
        return (x.shape[1], *(1,) * (x.rank - 2))
    if d.chance(0.5):
        return (x.shape[-1],)
    return tuple(1 if n == 0 or d.chance(0.4) else size for n, size in enumerate(x.shape))


def binary_two(d: Draft) -> None:
    x = d.floats()
    y = d.pick(lambda v: v.dtype == "float32" and _broadcasts(v.shape, x.shape))
    op_type = d.choose(("Add", "Add", "Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"))
    if op_type in ("Max", "Min", "Sum", "Mean") and d.chance(0.4):
        d.op(op_type, x, y, d.choose((x, y)))
    else:
        d.op(op_type, *((x, y) if d.chance(0.5) else (y, x)))


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    shared = min(len(a), len(b))
    tails = zip(a[len(a) - shared :], b[len(b) - shared :], strict=True)
    return all(m == n or 1 in (m, n) for m, n in tails)


def square(d: Draft) -> None:
    x = d.floats()
    exponent = d.choose((2.0, 2.0, 3.0, 0.5))
    base = d.op("Abs", x) if exponent == 0.5 else x
    d.op("Pow", base, d.constant(exponent))


def where(d: Draft) -> None:
    x = d.floats()
    condition = d.op(d.choose(COMPARISONS[:4]), x, d.constant(d.choose((0.0, 0.5, -0.25))))
    if d.chance(0.3):
        condition = d.op("Not", condition)
    choices = [d.constant(d.choose((1.0, -1.0, 0.0, 0.5))), d.constant(-1.0)]
    if d.chance(0.4):
        choices[int(d.rng.integers(2))] = x
    d.op("Where", condition, *choices)


def logic(d: Draft) -> None:
    a = d.pick(lambda v: v.dtype == "bool")
    b = d.pick(lambda v: v.dtype == "bool" and v.shape == a.shape)
    d.op(d.choose(("And", "Or", "Xor")), a, b)


def compare(d: Draft) -> None:
    x = d.floats()
    if d.chance(0.5):
        other = d.constant(d.numbers(broadcast_shape(d, x)))
    else:
        other = d.pick(lambda v: v.dtype == "float32" and v.shape == x.shape)
    y = d.op(d.choose(COMPARISONS), x, other)
    if d.chance(0.8):
        d.op("Cast", y, to=d.choose((TYPES["float32"],) * 4 + (TYPES["int64"], TYPES["uint8"])))


def cast(d: Draft) -> None:
    x = d.pick(lambda v: not v.constant)
    kind = d.choose(tuple(TYPES)) if d.chance(0.5) or x.dtype == "float32" else "float32"
    if kind in ("uint8", "int8", "int32", "int64") and x.is_float:
        low, high = (0, 200) if kind == "uint8" else (-100, 100)
        x = d.op("Clip", x, d.constant(low, x.array.dtype), d.constant(high, x.array.dtype))
    if kind in ("uint8", "int8") and x.dtype in ("int32", "int64"):
        raise RejectedError("its overflow is nobody's")
    d.op("Cast", x, to=TYPES[kind])


def integers(d: Draft) -> None:
    x = d.pick(lambda v: v.dtype in ("int32", "int64", "int8", "uint8"))
    info = np.iinfo(x.array.dtype)
    c = d.constant(d.rng.integers(1, 4, () if d.chance(0.5) else x.shape[-1:]), x.array.dtype)
    op_type = d.choose(("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Abs", "Sign", "Greater"))
    if op_type in ("Abs", "Sign"):
        d.op(op_type, x)
        return
    whole = x.array.astype(np.int64)
    if op_type in ("Add", "Sub", "Mul") and (
        int(whole.max()) > info.max // 4
        or int(whole.min()) < info.min // 4 + 3 * (op_type == "Sub")
    ):
        raise RejectedError("may overflow")
    if op_type == "Div" and int(whole.min()) < 0:
        raise RejectedError("the sign of a quotient differs between runtimes")
    d.op(op_type, x, c)


def floats_of_other_width(d: Draft) -> None:
    x = d.pick(lambda v: v.dtype in ("float16", "float64"))
    match int(d.rng.integers(5)):
        case 0:
            d.op(d.choose(("Relu", "Abs", "Neg", "Sign", "Floor")), x)
        case 1:
            d.op(d.choose(("Add", "Mul")), x, d.constant(d.numbers(()), x.array.dtype))
        case 2:
            d.op("MatMul", x, d.constant(d.numbers((x.shape[-1], 3)), x.array.dtype))
        case 3:
            d.op("Transpose", x)
        case _:
            d.op("Cast", x, to=1)
