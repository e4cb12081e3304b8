"""Max-pooling: the window that all of it is written out by, and floats as an anchor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax, te, tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.emit.frame import GROUP
from abc_tvm.relay_passes.emit.pooling import (
    MAX_POOL,
    MOST_WINDOW,
    alone,
    over_window,
    pool_window,
    turned_channels,
)
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import bindings, const, op_name
from tests.relay_passes.kernel_runs import pooled, run
from tests.relay_passes.relax_graph import image, step, tensor
from tests.schedules.window_cases import call

WINDOWS: dict[str, dict[str, Any]] = {
    "plain": {"pool_size": (2, 2), "strides": (2, 2)},
    "padded": {"pool_size": (3, 3), "strides": (2, 1), "padding": (1, 0, 1, 2)},
    "dilated": {"pool_size": (2, 3), "dilation": (3, 2)},
    "whole": {"pool_size": (5, 5)},
    "wider than the image": {"pool_size": (1, 6), "padding": (0, 3, 0, 3)},
}


def window_of(pool: relax.Call) -> Window:
    a = pool.attrs
    return Window(
        1,
        5,
        5,
        1,
        1,
        *(tuple(map(int, v)) for v in (a.pool_size, a.strides, a.padding, a.dilation)),
    )


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("channels", [1, 33])
def test_floats(name: str, channels: int, rng: np.random.Generator) -> None:
    """Padding is below everything, infinities and all that is below zero included."""
    x = image("x", channels)
    pool = relax.op.nn.max_pool2d(x, layout="NHWC", **WINDOWS[name])
    assert MAX_POOL.fits(relax.BlockBuilder().normalize(pool))
    data = rng.normal(-5, 1, (1, 5, 5, channels)).astype(np.float32)
    data[:, ::2, ::3] = -np.inf
    data[:, 1, 1] = np.inf
    (found,) = run([x], [data], lambda bind: bind(pool, "pool"))
    np.testing.assert_array_equal(found, pooled(data, window_of(pool)))


def test_what_follows_runs_in_the_same_kernel(rng: np.random.Generator) -> None:
    x = image("x", 5)
    data = rng.normal(size=(1, 5, 5, 5)).astype(np.float32)
    pool = relax.op.nn.max_pool2d(x, (2, 2), layout="NHWC")

    def body(bind: Any) -> relax.Expr:
        largest = bind(pool, "pool")
        return relax.Tuple([bind(step(largest, 5, (0.5,)), "step"), largest])

    levels, largest = run([x], [data], body)
    wanted = pooled(data, window_of(pool))
    np.testing.assert_array_equal(largest, wanted)
    np.testing.assert_array_equal(levels, wanted >= 0.5)


@pytest.mark.parametrize(("width", "fits"), [(MOST_WINDOW, True), (MOST_WINDOW + 1, False)])
def test_a_window_that_is_not_written_out(width: int, fits: bool) -> None:
    pool = relax.op.nn.max_pool2d(tensor("x", 1, 1, 600, 2), (1, width), layout="NHWC")
    assert MAX_POOL.fits(relax.BlockBuilder().normalize(pool)) == fits


def test_rows_are_joined_in_order_and_padding_is_not_read() -> None:
    """Written down as numbers: each place is read once, and those outside not at all."""
    window = Window(1, 3, 4, 1, 1, (2, 3), (1, 2), (1, 0, 0, 1), (1, 1))
    image_ = np.arange(1, 13, dtype=np.int32).reshape(3, 4)
    x = te.placeholder((3, 4), "int32", name="x")
    read = over_window(
        window, lambda y, z: x[y, z], lambda a, b: a * 13 + b, tirx.const(0, "int32")
    )
    shape = (window.out_height, window.out_width)
    out = te.compute(shape, lambda h, w: read(h, w), name="out")
    found = call(te.create_prim_func([x, out]), [image_, np.zeros(shape, np.int32)])[-1]
    padded = np.pad(image_, ((1, 0), (0, 1)))
    for h in range(shape[0]):
        for w in range(shape[1]):
            digits = padded[h : h + 2, 2 * w : 2 * w + 3].ravel()
            assert found[h, w] == np.polyval(digits, 13)


def bits_pool(batch: Any) -> relax.Call:
    bits = relax.Var("bits", relax.TensorType([batch, 6, 5, 1, 1, 1], "uint32"))
    attrs = {
        "kernel": [2, 3], "strides": [2, 1], "padding": [0, 1, 0, 1], "dilation": [1, 1],
        "groups": 1, "in_channels": 4, "out_channels": 4, "code": "thermometer", "planes": 1,
    }  # fmt: skip
    return make("pool_bitserial", [bits, const(np.int8([0, 1, 0, 1]))], **attrs)


def test_a_pooling_of_bits_as_a_function_of_its_own() -> None:
    """As fusing makes them: so it is lowered, tuned and recorded as they are."""
    pool = bits_pool(3)
    function = alone(pool, "layer_7")
    assert int(function.attrs[GROUP]) == 1 and str(function.attrs["layer"]) == "layer_7"
    (_, first), *_ = bindings(function)
    assert op_name(first) == "abc.pool_bitserial" and len(function.params) == 1
    assert pool_window(first, None) == pool_window(pool, None)
    np.testing.assert_array_equal(turned_channels(first), [False, True, False, True])


def test_the_batch_of_a_pooling() -> None:
    wanted = Window(3, 6, 5, 4, 4, (2, 3), (2, 1), (0, 1, 0, 1))
    assert pool_window(bits_pool(3), None) == pool_window(bits_pool(3), 9) == wanted
    open_ = bits_pool(tirx.Var("n", "int64"))
    assert pool_window(open_, 3) == wanted
    assert isinstance(pool_window(open_, None).batch, tirx.Var)
