"""The convolutions that the benchmark times, each checked against NumPy before it is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import te

from abc_tvm.compute.accumulate import Tile, combine
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import bit_output, float_output
from abc_tvm.reference.bases import pack_bits
from abc_tvm.reference.conv import conv2d
from abc_tvm.relay_passes.lowerings.packing import pack_planes, pack_weights
from abc_tvm.relay_passes.tir.stack_buffers import lowering_of
from abc_tvm.schedules.families import code_type
from abc_tvm.schedules.family import Table
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import Device

SHAPES = [(56, 64), (28, 128), (14, 256), (7, 512)]
"""Width and channels of ResNet-18's 3x3 convolutions, 115.6 million MACs each."""

Timer = Callable[[int], float]
"""Seconds of one call, the mean of so many calls in a row."""


@dataclass
class KernelLayer:
    """One compiled and checked kernel. ``macs`` counts every pair of planes.

    ``looked_up``: bits are counted by table lookup.
    """

    name: str
    width: int
    channels: int
    macs: int
    tile: Tile
    timer: Timer
    looked_up: bool = False


def _window(width: int, channels: int) -> tuple[Window, Blocking]:
    return Window(1, width, width, channels, channels, (3, 3), (1, 1), (1, 1, 1, 1)), Blocking(
        channels
    )


def _compile(
    func: Any, device: Device, values: list[np.ndarray], result: tuple[int, ...], dtype: str
) -> tuple[Timer, np.ndarray]:
    module = tvm.compile(func, device.tvm_target(), tir_pipeline=lowering_of(device)).jit()
    tensors = [tvm.runtime.tensor(v) for v in (*values, np.zeros(result, dtype))]
    module["main"](*tensors)

    def timer(number: int) -> float:
        run = module.time_evaluator("main", tvm.cpu(), number=number, repeat=1)
        return float(run(*tensors).results[0])

    return timer, tensors[-1].numpy()


def _tables(data: np.ndarray) -> tuple[list[np.ndarray], list[te.Tensor], Table]:
    """Operands that begin with ``data``, their placeholders, and what adds one more."""
    operands = [data]
    inputs = [te.placeholder(data.shape, str(data.dtype), name="data")]

    def table(array: np.ndarray, name: str) -> te.Tensor:
        operands.append(array)
        inputs.append(te.placeholder(array.shape, str(array.dtype), name=name))
        return inputs[-1]

    return operands, inputs, table


def bit_layer(device: Device, width: int, channels: int, M: int = 1, N: int = 1) -> KernelLayer:
    """A binary 3x3 convolution with zero padding, fused with what follows it.

    For M = N = 1 a threshold: bits in, bits out. Otherwise the weighted sum of the planes: bits
    in, float32 out.
    """
    rng = np.random.default_rng(width)
    window, blocking = _window(width, channels)
    made = scheduler_of(device)
    plan = made.plan(window, blocking, M * N, "bitserial", M)
    signs = rng.choice(np.array([-1, 1], np.int8), (N, width, width, channels))
    planes = rng.choice(np.array([-1, 1], np.int8), (M, channels, 3, 3, channels))
    packed = pack_bits((signs > 0).transpose(1, 2, 0, 3)[None], axis=-1)
    bits = np.ascontiguousarray(packed[:, :, :, :, None])
    words = pack_planes(planes, window, blocking)
    operands, inputs, table = _tables(bits)
    acc = made.family.sums(plan, inputs[0], words, table)
    differing = _reference(signs, planes)
    if M * N == 1:
        limits = np.full(channels, int(np.median(differing)), np.int32)
        more = [te.placeholder(limits.shape, "int32", name="thresholds")]
        values = [limits]
        out = bit_output(
            "y",
            1,
            width,
            width,
            blocking,
            lambda p, at: acc[(*at[:5], 0, 0, at[5])] <= more[0][blocking.slot(at)],
            1,
        )
    else:
        values = [rng.normal(size=(M, N, 1)).astype(np.float32)]
        more = [te.placeholder(values[0].shape, "float32", name="factors")]
        total = combine(acc, more[0], window, blocking, "float32")
        out = float_output("y", 1, width, width, blocking, lambda at: total[at])
    func = made.schedule(plan, te.create_prim_func([*inputs, *more, out]))
    shape = tuple(int(n) for n in out.shape)
    timer, result = _compile(func, device, [*operands, *values], shape, str(out.dtype))
    if M * N == 1:
        fired = (differing[0, 0] <= limits[:, None, None]).transpose(1, 2, 0)
        np.testing.assert_array_equal(
            result.reshape(width, width, -1), pack_bits(fired, axis=-1).reshape(width, width, -1)
        )
    else:
        expected = np.einsum("mn,mnohw->hwo", values[0][..., 0], differing)
        np.testing.assert_allclose(
            result.reshape(expected.shape), expected, rtol=1e-3, atol=1e-2 * channels
        )
    kind = "bits, M=N=1, bits out" if M * N == 1 else f"bits, M={M} N={N}, float out"
    looked_up = plan.choice.count == "nibble"
    name = f"{kind} ({'nibble lookup' if looked_up else 'popcount'}, {device.cpu})"
    return KernelLayer(name, width, channels, window.macs * M * N, plan.tile, timer, looked_up)


def _reference(signs: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Differing bits ``[M, N, O, H, W]``; outside the image every bit is 0, that is -1."""
    image = np.pad(signs, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    weights = planes.reshape(-1, *planes.shape[2:]).transpose(0, 3, 1, 2)
    dots = conv2d(image.transpose(0, 3, 1, 2), weights)
    n, _, height, width = dots.shape
    dots = dots.reshape(n, len(planes), -1, height, width).swapaxes(0, 1)
    return ((9 * signs.shape[-1] - dots) / 2).astype(np.int64)


def float_layer(device: Device, width: int, channels: int) -> KernelLayer:
    """The same convolution in float32, with the same loop nest."""
    rng = np.random.default_rng(width)
    window, blocking = _window(width, channels)
    made = scheduler_of(device)
    plan = made.plan(window, blocking, 1, "float")
    x = rng.normal(size=(1, width, width, 1, channels)).astype(np.float32)
    weight = rng.normal(size=(channels, 3, 3, channels)).astype(np.float32)
    operands, inputs, table = _tables(x)
    acc = made.family.sums(plan, inputs[0], pack_weights(weight, blocking), table)
    out = float_output("y", 1, width, width, blocking, lambda at: acc[at])
    func = made.schedule(plan, te.create_prim_func([*inputs, out]))
    shape = tuple(int(n) for n in out.shape)
    timer, result = _compile(func, device, operands, shape, "float32")
    expected = conv2d(x[:, :, :, 0].transpose(0, 3, 1, 2), weight.transpose(0, 3, 1, 2), padding=1)
    np.testing.assert_allclose(
        result.reshape(width, width, channels), expected[0].transpose(1, 2, 0), rtol=1e-3, atol=1e-2
    )
    return KernelLayer(f"float32 ({device.cpu})", width, channels, window.macs, plan.tile, timer)


def int8_layer(device: Device, width: int, channels: int) -> KernelLayer | None:
    """The same convolution on levels coded as bytes, bytes in, float32 out.

    ``None`` where the device has no dot products.
    """
    dtype = code_type(device)
    if dtype != "uint8":
        return None
    rng = np.random.default_rng(width)
    window, blocking = _window(width, channels)
    made = scheduler_of(device)
    plan = made.plan(window, blocking, 1, "int8")
    zero = 5
    codes = rng.integers(0, 11, (1, width, width, 1, channels)).astype(np.uint8)
    weight = rng.integers(-127, 128, (channels, 3, 3, channels)).astype(np.int8)
    operands, inputs, table = _tables(codes)
    acc = made.family.sums(plan, inputs[0], weight, table, zero)
    out = float_output("y", 1, width, width, blocking, lambda at: acc[at].astype("float32"))
    func = made.schedule(plan, te.create_prim_func([*inputs, out]))
    shape = tuple(int(n) for n in out.shape)
    timer, result = _compile(func, device, operands, shape, "float32")
    image = np.pad(
        codes[:, :, :, 0].astype(np.float32).transpose(0, 3, 1, 2),
        ((0, 0), (0, 0), (1, 1), (1, 1)),
        constant_values=zero,
    )
    expected = conv2d(image, weight.transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_array_equal(
        result.reshape(width, width, channels), expected[0].transpose(1, 2, 0)
    )
    return KernelLayer(f"bytes ({device.cpu})", width, channels, window.macs, plan.tile, timer)
