"""The operators of the normal form: their types, their windows, and what stands for them."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax
from tvm.tirx import Var

from abc_tvm.compute.geometry import Window
from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.ops import coded_window, conv_window, make, to_float, window_attrs
from abc_tvm.relay_passes.rewrite import array_of, const, dtype_of, op_name, shape_of
from tests.relay_passes.relax_graph import WINDOW, binary, convolution, image, signs, step, tensor

PLANES = signs(2, 6, 3, 3, 4)
ALPHA = np.full((2, 6), 0.5, np.float32)
STRIDED = {"strides": [2, 2], "padding": [1, 1, 1, 1], "dilation": [1, 1], "groups": 1}
SHAPE = {**STRIDED, "kernel": [3, 3], "in_channels": 4, "out_channels": 6}
POOL = {**SHAPE, "out_channels": 4, "padding": [0, 0, 0, 0]}


def typed(call: relax.Call) -> tuple[str, tuple[object, ...]]:
    """What TVM infers of a call."""
    normal = relax.BlockBuilder().normalize(call)
    return dtype_of(normal), shape_of(normal)


def encoding(name: str, **attrs: object) -> relax.Call:
    return make(name, step(image("x", 40), 40).args[:3], layout_groups=2, **attrs)


def no_flips() -> relax.Expr:
    return const(np.zeros(4, np.int8))


BITS = tensor("bits", 1, 5, 5, 2, 1, 1, dtype="uint32")
CODES = tensor("codes", 1, 5, 5, 1, 4, dtype="int8")


@pytest.mark.parametrize(
    ("call", "dtype", "shape"),
    [
        (step(image("x", 4), 4), "float32", (1, 5, 5, 4)),
        (binary(image("x", 4), PLANES, ALPHA), "float32", (1, 3, 3, 6)),
        (binary(image("x", 4), PLANES, ALPHA, **STRIDED), "float32", (1, 3, 3, 6)),
        (encoding("encode_bitserial", planes=3), "uint32", (1, 5, 5, 3, 2, 1)),
        (encoding("encode_int8", dtype="uint8"), "uint8", (1, 5, 5, 2, 32)),
        (
            make("pool_bitserial", [BITS, no_flips()], **POOL, planes=1),
            "uint32",
            (1, 2, 2, 1, 1, 1),
        ),
        (make("pool_int8", [CODES, no_flips()], **POOL), "int8", (1, 2, 2, 1, 4)),
        (make("bitserial_conv2d", [BITS], **SHAPE), "float32", (1, 3, 3, 6)),
        (make("int8_conv2d", [CODES], **SHAPE), "float32", (1, 3, 3, 6)),
    ],
)
def test_types(call: relax.Call, dtype: str, shape: tuple[int, ...]) -> None:
    assert typed(call) == (dtype, shape)


def test_the_same_window_of_floats_planes_and_codes() -> None:
    wanted = Window(
        batch=1,
        height=5,
        width=5,
        in_channels=4,
        out_channels=6,
        kernel=(3, 3),
        stride=(2, 2),
        padding=(1, 1, 1, 1),
        dilation=(1, 1),
        groups=1,
    )
    weight = np.ones((6, 3, 3, 4), np.float32)
    plain = convolution(image("x", 4), weight, strides=(2, 2), padding=(1, 1, 1, 1))
    normal = relax.BlockBuilder().normalize(plain)
    assert conv_window(normal) == wanted
    assert conv_window(binary(image("x", 4), PLANES, ALPHA, **STRIDED)) == wanted
    assert coded_window(make("bitserial_conv2d", [BITS], **SHAPE)) == wanted
    assert window_attrs(wanted) == STRIDED


def test_an_open_batch_is_kept_and_an_open_height_refused() -> None:
    extent = Var("N", "int64")
    batch = relax.Var("x", relax.TensorType([extent, 5, 5, 4], "float32"))
    assert str(conv_window(binary(batch, PLANES, ALPHA)).batch) == "N"
    height = relax.Var("x", relax.TensorType([1, extent, 5, 4], "float32"))
    with pytest.raises(UnsupportedError, match="only the first extent may be open; fix the batch"):
        conv_window(binary(height, PLANES, ALPHA))


def test_back_to_float() -> None:
    """The weights of the graph, and the same window."""
    call = binary(image("x", 4), PLANES, ALPHA, **STRIDED)
    plain = relax.BlockBuilder().normalize(to_float(call))
    assert op_name(plain) == "nn.conv2d" and str(plain.attrs.kernel_layout) == "OHWI"
    assert conv_window(plain) == conv_window(call)
    np.testing.assert_array_equal(array_of(plain.args[1]), array_of(call.args[3]))


def test_a_call_without_attributes_has_none() -> None:
    assert step(image("x", 4), 4).attrs is None
    assert int(make("bconv2d", [], **WINDOW).attrs["groups"]) == 1
