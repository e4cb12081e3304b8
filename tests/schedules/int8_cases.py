"""Convolutions on bytes with their NumPy meaning, for the tests of their kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import code_output, float_output
from abc_tvm.reference.conv import conv2d
from abc_tvm.schedules.families import code_type
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import Device
from tests.schedules.window_cases import Run, placeholder

CASES: list[dict[str, Any]] = [
    {"size": (7, 7), "channels": (64, 64), "kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"size": (8, 7), "channels": (65, 130), "kernel": (3, 3), "padding": (0, 1, 2, 1)},
    {"size": (9, 9), "channels": (31, 33), "kernel": (3, 2), "dilation": (2, 1), "batch": 2},
    {"size": (8, 9), "channels": (66, 62), "kernel": (3, 3), "groups": 2, "stride": (2, 2)},
    {"size": (6, 6), "channels": (10, 6), "groups": 2, "kernel": (3, 3), "padding": (1, 0, 1, 0)},
    {"size": (1, 1), "channels": (130, 10), "batch": 3},
    {"size": (1, 1), "channels": (63, 1)},
    {"size": (5, 5), "channels": (1, 1), "kernel": (3, 3), "padding": (2, 2, 2, 2)},
    {"size": (4, 4), "channels": (5, 32), "stride": (2, 2)},
    {"size": (3, 3), "channels": (32, 31)},
]
"""What is new in each: plain, unaligned and lopsided padding, dilation, groups, few channels, a
dense layer, one output, one channel, 1x1, one block."""


@dataclass
class ByteKernel:
    """A scheduled kernel, its arguments, and its sums by NumPy, ``[B, OH, OW, C]``."""

    func: Any
    arguments: list[np.ndarray]
    expected: np.ndarray
    blocking: Blocking


def check(
    case: dict[str, Any],
    device: Device,
    rng: np.random.Generator,
    run: Run,
    made: Scheduler | None = None,
) -> None:
    """Sums as floats and as bytes, of all values that bytes can have, against NumPy."""
    kernel = byte_kernel(case, device, rng, made)
    *_, y, z = run(kernel.func, kernel.arguments)
    expected, blocking = kernel.expected, kernel.blocking
    np.testing.assert_array_equal(y.reshape(expected.shape), expected)
    stored = z.reshape(*expected.shape[:3], blocking.slots)[..., blocking.slot_of_channel()]
    np.testing.assert_array_equal(stored, expected.astype(np.int64).astype(z.dtype))


def byte_kernel(
    case: dict[str, Any], device: Device, rng: np.random.Generator, made: Scheduler | None = None
) -> ByteKernel:
    """A convolution of random bytes, its sums stored as floats and as bytes."""
    size, channels, batch = case["size"], case["channels"], case.get("batch", 1)
    more = {k: v for k, v in case.items() if k not in ("size", "channels", "batch")}
    window = Window(batch, *size, *channels, **more)
    blocking = Blocking(channels[1], window.groups)
    dtype = code_type(device)
    low, high, zero = (0, 255, 100) if dtype == "uint8" else (-128, 127, 0)
    shape = (batch, *size, window.groups, window.group_in)
    codes = rng.choice(np.array([low, low + 1, zero, high - 1, high]), shape).astype(dtype)
    w = rng.integers(-127, 128, (channels[1], *window.kernel, window.group_in)).astype(np.int8)
    # Slots past the last channel hold anything.
    wide = rng.integers(low, high + 1, (*shape[:4], code_slots(window.group_in))).astype(dtype)
    wide[..., : window.group_in] = codes
    scheduler = made or scheduler_of(device)
    plan = scheduler.plan(window, blocking, 1, "int8")
    tables: list[np.ndarray] = []
    inputs = [placeholder("A", wide)]

    def table(array: np.ndarray, _: str) -> te.Tensor:
        tables.append(array)
        inputs.append(placeholder("W", array))
        return inputs[-1]

    acc = scheduler.family.sums(plan, inputs[0], w, table, zero)
    pixels = (batch, window.out_height, window.out_width)
    real = float_output("y", *pixels, blocking, lambda at: acc[at].astype("float32"))
    byte = code_output("z", *pixels, blocking, acc, str(dtype))
    func = scheduler.schedule(plan, te.create_prim_func([*inputs, real, byte]))
    empty = [
        np.zeros([int(n) for n in tensor.shape], kind)
        for tensor, kind in ((real, "float32"), (byte, dtype))
    ]
    top, left, bottom, right = window.padding
    image = np.pad(
        codes.reshape(batch, *size, -1).astype(np.float32).transpose(0, 3, 1, 2),
        ((0, 0), (0, 0), (top, bottom), (left, right)),
        constant_values=zero,
    )
    expected = conv2d(
        image,
        w.transpose(0, 3, 1, 2).astype(np.float32),
        stride=window.stride,
        dilation=window.dilation,
        groups=window.groups,
    ).transpose(0, 2, 3, 1)
    return ByteKernel(func, [wide, *tables, *empty], expected, blocking)
