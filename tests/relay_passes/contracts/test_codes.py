"""A violation of each contract of layers on codes, beside a graph that keeps it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.contracts.codes import (
    codes_fit_their_readers,
    convolutions_read_codes,
    no_binary_convolution_in_levels,
    steps_are_read_as_floats,
)
from abc_tvm.relay_passes.contracts.contract import Contract
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.relax_graph import WINDOW, binary, image, module, signs, step

PLANES = signs(2, 6, 3, 3, 4)
ALPHA = np.full((2, 6), 0.5, np.float32)
SHAPE = {**WINDOW, "kernel": [3, 3], "in_channels": 4, "out_channels": 6}
CONTRACTS = (
    no_binary_convolution_in_levels,
    convolutions_read_codes,
    codes_fit_their_readers,
    steps_are_read_as_floats,
)


def encode(x: relax.Expr, planes: int = 1, groups: int = 1) -> relax.Call:
    whole = step(x, 4, tuple(range(planes)))
    facts = {"code": "thermometer", "planes": planes, "layout_groups": groups, "count": 0}
    return make("encode_bitserial", whole.args[:3], **facts)


def encode_int8(x: relax.Expr, groups: int = 1) -> relax.Call:
    facts = {"codes": [0, 1], "dtype": "uint8", "layout_groups": groups, "count": 0}
    return make("encode_int8", step(x, 4).args[:3], **facts)


def on_bits(x: relax.Expr, planes: np.ndarray = PLANES, alpha: np.ndarray = ALPHA) -> relax.Call:
    args = [x, const(planes), const(alpha)]
    return make("bitserial_conv2d", args, **SHAPE, base=0.0, weights=[1.0])


def on_int8(x: relax.Expr, weights: np.ndarray | None = None, scale: float = 0.5) -> relax.Call:
    weights = signs(6, 3, 3, 4) if weights is None else weights
    args = [x, const(weights), const(np.full(6, scale, np.float32))]
    return make("int8_conv2d", args, codes=[0, 1], error=0.0, zero=0, **SHAPE)


def grouped(x: relax.Expr, groups: int) -> relax.Call:
    """64 outputs, so that groups of 32 or more fill a vector."""
    args = [x, const(signs(64, 3, 3, 4 // groups)), const(np.ones(64, np.float32))]
    shape = {**SHAPE, "out_channels": 64, "groups": groups}
    return make("int8_conv2d", args, codes=[0, 1], error=0.0, zero=0, **shape)


ONE = {**WINDOW, "kernel": [1, 1], "in_channels": 4, "out_channels": 4}


def pad_bits(x: relax.Expr) -> relax.Call:
    level = const(np.zeros((1, 1, 1), np.uint32))
    return make("pad_bitserial", [x, level], **ONE, code="thermometer", planes=1)


def pad_int8(x: relax.Expr) -> relax.Call:
    return make("pad_int8", [x], **ONE, code=1)


def pool_int8(x: relax.Expr) -> relax.Call:
    return make("pool_int8", [x, const(np.zeros(4, np.int8))], **ONE, codes=[])


def chain(*calls: Callable[[relax.Var], relax.Expr]) -> tvm.IRModule:
    """One call after another, of the input; the last one is ``conv``."""
    x = image("x", 4)

    def body(bind: Callable[..., relax.Var]) -> relax.Expr:
        data = x
        for call in calls[:-1]:
            data = bind(call(data), "before")
        return bind(calls[-1](data), "conv")

    return module([x], body)


def quantised(x: relax.Expr) -> relax.Call:
    return step(x, 4)


@pytest.mark.parametrize(
    "calls",
    [
        (encode, on_bits),
        (encode_int8, on_int8),
        (encode, pad_bits, on_bits),
        (encode_int8, pool_int8, pad_int8, on_int8),
        (encode_int8, lambda x: grouped(x, 4)),
        (lambda x: encode_int8(x, groups=4), lambda x: grouped(x, 4)),
    ],
)
@pytest.mark.parametrize("contract", CONTRACTS)
def test_layers_on_codes_keep_all(calls: tuple[Callable, ...], contract: Contract) -> None:
    assert not list(contract(chain(*calls)))


def test_no_binary_convolution_in_levels() -> None:
    mod = chain(quantised, lambda x: binary(x, PLANES, ALPHA))
    assert list(no_binary_convolution_in_levels(mod)) == ["conv is an abc.bconv2d"]


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ((encode, on_int8), "conv = abc.int8_conv2d reads abc.encode_bitserial"),
        ((encode_int8, on_bits), "conv = abc.bitserial_conv2d reads abc.encode_int8"),
        ((relax.op.nn.relu, on_bits), "conv = abc.bitserial_conv2d reads nn.relu"),
        ((encode, pad_bits, on_int8), "conv = abc.int8_conv2d reads abc.pad_bitserial"),
        (
            (encode_int8, pad_int8, pool_int8, on_int8),
            "before2 = abc.pool_int8 reads abc.pad_int8",
        ),
        ((on_bits,), "conv = abc.bitserial_conv2d reads an input"),
    ],
)
def test_convolutions_read_codes(calls: tuple[Callable, ...], fault: str) -> None:
    assert list(convolutions_read_codes(chain(*calls))) == [fault]


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ((encode, lambda x: on_bits(x, 0 * PLANES)), "planes are not ±1"),
        ((encode, lambda x: on_bits(x, alpha=ALPHA * np.float32(np.nan))), "no finite constants"),
        ((encode, lambda x: on_bits(x, PLANES[..., :2])), "(2, 6, 3, 3, 2) for 4"),
        ((encode, lambda x: on_bits(x, PLANES.astype(np.float32))), "weights float32"),
        ((lambda x: encode(x, planes=2), on_bits), "reads 2 planes in 1 groups"),
        ((lambda x: encode(x, groups=2), on_bits), "reads 1 planes in 2 groups"),
        ((encode_int8, on_bits), "not bits"),
        ((encode, on_int8), "not bytes"),
        ((lambda x: encode_int8(x, groups=2), on_int8), "reads bytes in 2 groups"),
        ((encode_int8, lambda x: on_int8(x, scale=np.inf)), "no finite constants"),
        ((encode_int8, lambda x: grouped(x, 2)), "reads bytes in 1 groups"),
        ((lambda x: encode_int8(x, groups=2), lambda x: grouped(x, 4)), "reads bytes in 2 groups"),
    ],
)
def test_codes_fit_their_readers(calls: tuple[Callable, ...], fault: str) -> None:
    (found,) = codes_fit_their_readers(chain(*calls))
    assert found.startswith("conv: ") and fault in found


def test_steps_are_read_as_floats() -> None:
    assert list(steps_are_read_as_floats(chain(quantised, on_bits))) == [
        "conv = abc.bitserial_conv2d reads levels"
    ]
    assert not list(steps_are_read_as_floats(chain(quantised, relax.op.nn.relu)))
