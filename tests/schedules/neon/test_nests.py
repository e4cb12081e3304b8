"""Convolutions of every kind for Arm, compiled and run in emulation, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import float_output
from abc_tvm.reference.conv import conv2d
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from tests import emulated
from tests.schedules import int8_cases
from tests.schedules.neon.cases import check, most
from tests.schedules.window_cases import GEOMETRIES, bit_case, placeholder

AARCH64 = ["rpi3", "rpi4", "rpi5"]

FLOATS: list[dict[str, Any]] = [
    {"size": (8, 7), "channels": (3, 64), "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"size": (9, 9), "channels": (3, 32), "kernel": (7, 7), "stride": (2, 2), "padding": (3,) * 4},
    {"size": (8, 8), "channels": (16, 33), "kernel": (3, 3), "batch": 2, "dilation": (1, 2)},
    {"size": (5, 6), "channels": (8, 70), "groups": 2},
    {"size": (6, 6), "channels": (10, 6), "groups": 2, "kernel": (3, 3), "padding": (1, 0, 1, 0)},
    {"size": (1, 1), "channels": (64, 10), "batch": 3},
    {"size": (4, 4), "channels": (5, 1), "kernel": (2, 2)},
    {"size": (3, 3), "channels": (1, 32)},
]


@pytest.mark.parametrize("geometry", [g for g, _ in GEOMETRIES], ids=str)
@pytest.mark.sweep("name", short=["rpi3"], full=AARCH64)
def test_bit_convolution(geometry: dict[str, Any], name: str) -> None:
    check(load(name), bit_case(0, **geometry))


@pytest.mark.parametrize("name", AARCH64)
@pytest.mark.parametrize("shapes", ["int64", "symbolic"])
def test_index_types(name: str, shapes: str) -> None:
    geometry = {"size": (9, 9), "channels": (65, 64), "kernel": (3, 3), "batch": 2, "M": 3, "P": 3}
    check(load(name), bit_case(1, **geometry), shapes=shapes)


@pytest.mark.parametrize("name", ["rpi4", "rpi5"])
@pytest.mark.sweep("channels", short=[1, 33, 64], full=[1, 31, 32, 33, 63, 64, 65, 130])
def test_channels_round_word_boundaries(name: str, channels: int) -> None:
    border = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
    check(load(name), bit_case(channels, size=(4, 5), channels=(channels, channels), **border))


@pytest.mark.parametrize("name", ["rpi3", "rpi5"])
@pytest.mark.parametrize("words", [1, 2, 3, 30, 31, 32, 37, 62, 93])
def test_bytes_never_overflow(name: str, words: int) -> None:
    check(load(name), most(words))


@pytest.mark.parametrize("case", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["rpi3", "rpi4", "rpi-armv7"])
def test_float_convolution(case: dict[str, Any], name: str, rng: np.random.Generator) -> None:
    size, channels, batch = case["size"], case["channels"], case.get("batch", 1)
    more = {k: v for k, v in case.items() if k not in ("size", "channels", "batch")}
    window, device = Window(batch, *size, *channels, **more), load(name)
    blocking = Blocking(channels[1], window.groups)
    # Small integers: sums are exact in any order.
    x = rng.integers(-8, 9, (batch, *size, window.groups, window.group_in)).astype(np.float32)
    w = rng.integers(-8, 9, (channels[1], window.group_in, *window.kernel)).astype(np.float32)
    spread = blocking.spread(np.moveaxis(w, 0, -1).transpose(1, 2, 0, 3))
    lanes = spread.reshape(*spread.shape[:3], blocking.groups * blocking.blocks, -1)
    packed = np.ascontiguousarray(lanes.transpose(3, 0, 1, 2, 4))
    scheduler = scheduler_of(device)
    plan = scheduler.plan(window, blocking, 1, "float")
    tables: list[np.ndarray] = []
    inputs = [placeholder("A", x)]

    def table(array: np.ndarray, _: str) -> te.Tensor:
        tables.append(array)
        inputs.append(placeholder("W", array))
        return inputs[-1]

    acc = scheduler.family.sums(plan, inputs[0], packed, table)
    pixels = (batch, window.out_height, window.out_width)
    out = float_output("y", *pixels, blocking, lambda at: acc[at])
    func = scheduler.schedule(plan, te.create_prim_func([*inputs, out]))
    empty = np.zeros([int(n) for n in out.shape], np.float32)
    y = emulated.call(func, [x, *tables, empty], device)[-1]
    image = x.reshape(batch, *size, -1).transpose(0, 3, 1, 2)
    top, left, bottom, right = window.padding
    image = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
    expected = conv2d(
        image, w, stride=window.stride, dilation=window.dilation, groups=window.groups
    ).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(y.reshape(expected.shape), expected)


@pytest.mark.parametrize("case", int8_cases.CASES, ids=str)
def test_byte_convolution(case: dict[str, Any], rng: np.random.Generator) -> None:
    device = load("rpi5")
    emulated.need(device.triple)
    int8_cases.check(case, device, rng, lambda func, args: emulated.call(func, args, device))
