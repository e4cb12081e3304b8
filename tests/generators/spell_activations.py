"""Spellings of the activation bases ``A_n``, and of their sum ``sum_n beta_n A_n``."""

from __future__ import annotations

import numpy as np
import onnx

from .layer_values import Array32
from .writer import Writer

# These compute all bases in one tensor, so that only their sum has a name of its own.
SUM_ONLY = frozenset({"stack", "broadcast"})


def emit_bases(writer: Writer, x: str, v: Array32, form: str) -> list[str]:
    """The N basis tensors of ±1, in v's order, in any form that is not in SUM_ONLY."""
    return [_emit_basis(writer, x, v_n, form) for v_n in v]


def emit_sum(writer: Writer, x: str, v: Array32, beta: Array32, form: str) -> str:
    """The tensor ``sum_n beta_n A_n``."""
    if form == "broadcast":
        return _broadcast_sum(writer, x, v, beta)
    if form == "where" and writer.flip():
        return writer.add_all(
            [_where(writer, x, v_n, float(b)) for v_n, b in zip(v, beta, strict=True)]
        )
    if form == "bipolar_quant":
        return writer.add_all(
            [_bipolar(writer, x, v_n, float(b)) for v_n, b in zip(v, beta, strict=True)]
        )
    if form == "stack":
        bases = emit_bases(writer, x, v, str(writer.pick(("greater_equal", "cast", "where"))))
        stacked = [writer.op("Unsqueeze", basis, writer.ints(0)) for basis in bases]
        return _reduce(writer, writer.op("Concat", *stacked, axis=0), beta)
    bases = emit_bases(writer, x, v, form)
    return writer.add_all(
        [writer.scale(basis, float(b)) for basis, b in zip(bases, beta, strict=True)]
    )


def _emit_basis(writer: Writer, x: str, v_n: np.float32, form: str) -> str:
    if form == "sign_clip":
        clipped = _clip(writer, writer.op("Add", x, writer.const(v_n)))
        return writer.op("Sign", writer.op("Sub", clipped, writer.const(0.5)))
    if form == "greater_equal":
        clipped = _clip(writer, writer.op("Add", x, writer.const(v_n)))
        return _bipolar_bits(writer, writer.op("GreaterOrEqual", clipped, writer.const(0.5)))
    if form == "cast":
        return _bipolar_bits(writer, writer.op("GreaterOrEqual", x, _threshold(writer, v_n)))
    if form == "where":
        return _where(writer, x, v_n, 1.0)
    if form == "larq":
        inner = writer.op("Sign", _centred(writer, x, v_n))
        return writer.op("Sign", writer.op("Add", inner, writer.const(0.1)))
    if form == "bipolar_quant":
        return _bipolar(writer, x, v_n, 1.0)
    if form == "quant":
        return _one_bit_quant(writer, x, v_n)
    raise ValueError(f"unknown activation form {form!r}")


def _threshold(writer: Writer, v_n: np.float32) -> str:
    return writer.const(0.5 - float(v_n))


def _clip(writer: Writer, x: str) -> str:
    return writer.op("Clip", x, writer.const(0.0), writer.const(1.0))


def _centred(writer: Writer, x: str, v_n: np.float32) -> str:
    """``x + v_n - 0.5``: at or above zero where the basis is +1."""
    offset = float(v_n) - 0.5
    return x if offset == 0 else writer.op("Add", x, writer.const(offset))


def _bipolar_bits(writer: Writer, bits: str) -> str:
    ones = writer.op("Cast", bits, to=onnx.TensorProto.FLOAT)
    return writer.op("Sub", writer.op("Mul", ones, writer.const(2.0)), writer.const(1.0))


def _where(writer: Writer, x: str, v_n: np.float32, size: float) -> str:
    high, low = writer.const(size), writer.const(-size)
    way = int(writer.pick((0, 1, 2, 3)))
    threshold = _threshold(writer, v_n)
    if way == 0:
        return writer.op("Where", writer.op("Less", x, threshold), low, high)
    if way == 1:
        return writer.op("Where", writer.op("LessOrEqual", threshold, x), high, low)
    if way == 2:
        below = writer.op("Not", writer.op("Greater", threshold, x))
        return writer.op("Where", below, high, low)
    return writer.op("Where", writer.op("GreaterOrEqual", x, threshold), high, low)


def _bipolar(writer: Writer, x: str, v_n: np.float32, size: float) -> str:
    return writer.qonnx("BipolarQuant", _centred(writer, x, v_n), writer.const(size))


def _one_bit_quant(writer: Writer, x: str, v_n: np.float32) -> str:
    """``2 * Quant(x + v_n) - 1`` with one unsigned bit."""
    shifted = writer.op("Add", x, writer.const(v_n))
    bit = quant(writer, shifted, bits=1, signed=False)
    return writer.op("Sub", writer.op("Mul", bit, writer.const(2.0)), writer.const(1.0))


def quant(
    writer: Writer, x: str, bits: int, signed: bool, narrow: bool = False, scale: float = 1.0
) -> str:
    """QONNX Quant with zero point 0 and rounding to even."""
    return writer.qonnx(
        "Quant",
        x,
        writer.const(scale),
        writer.const(0.0),
        writer.const(float(bits)),
        signed=int(signed),
        narrow=int(narrow),
        rounding_mode="ROUND",
    )


def _broadcast_sum(writer: Writer, x: str, v: Array32, beta: Array32) -> str:
    wide = writer.op("Unsqueeze", x, writer.ints(0))
    shifts = writer.const(v.reshape(-1, 1, 1, 1, 1))
    clipped = _clip(writer, writer.op("Add", wide, shifts))
    bits = writer.op("GreaterOrEqual", clipped, writer.const(0.5))
    return _reduce(writer, _bipolar_bits(writer, bits), beta)


def _reduce(writer: Writer, stacked: str, beta: Array32) -> str:
    weighted = writer.op("Mul", stacked, writer.const(beta.reshape(-1, 1, 1, 1, 1)))
    return writer.op("ReduceSum", weighted, writer.ints(0), keepdims=0)
