"""The convolutions that ``benchmarks/cuda.py`` times, each checked against NumPy before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from abc_tvm import stages
from abc_tvm.compute.accumulate import combine
from abc_tvm.compute.geometry import Window, words
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.compute.outputs import bit_output, code_output
from abc_tvm.reference.bases import pack_bits
from abc_tvm.reference.conv import conv2d
from abc_tvm.relay_passes.lowerings.packing import pack_planes
from abc_tvm.schedules.cuda.family import CUDA
from abc_tvm.schedules.cuda.space import CudaChoice
from abc_tvm.schedules.cuda.tiles import BlockTile, choose
from abc_tvm.schedules.family import Plan, Table
from abc_tvm.schedules.problem import Problem
from abc_tvm.targets import Device

Timer = Callable[[int], float]
"""Seconds of one call, the mean of so many calls in a row."""


@dataclass
class GpuLayer:
    """One compiled and checked kernel. ``operations``: two for each pair of bits, or of bytes."""

    tile: BlockTile
    operations: int
    timer: Timer


def bit_layer(
    device: Device,
    width: int,
    channels: int,
    batch: int,
    M: int,
    N: int,
    tile: BlockTile | None = None,
) -> GpuLayer:
    """A 3x3 convolution with zero padding: N planes of bits in, M·N products, N planes out.

    The planes are summed with weights of their own, and the sum is compared with N thresholds a
    channel. The first and the last image are checked. ``tile`` in place of the default.
    """
    rng = np.random.default_rng(width)
    window = Window(batch, width, width, channels, channels, (3, 3), (1, 1), (1, 1, 1, 1))
    blocking = Blocking(channels)
    shape = (batch, width, width, N, 1, words(channels))
    bits = rng.integers(0, 2**32, shape, np.uint32)
    planes = rng.choice(np.array([-1, 1], np.int8), (M, channels, 3, 3, channels))
    problem = Problem(window, blocking, M * N, "bitserial", M)
    choice = CudaChoice(block=tile or choose(device, problem))
    plan = Plan(device, problem, choice)
    operands, inputs, table = _tables(bits)
    packed = pack_planes(planes, window, blocking)
    acc = CUDA.sums(plan, inputs[0], packed, table)
    # Integers, so that the sums are exact in any order.
    factors = rng.integers(1, 4, (M, N, 1)).astype(np.float32)
    wanted = [weighted(bits[n], planes, factors) for n in (0, batch - 1)]
    limits = np.quantile(wanted[0], np.linspace(0.3, 0.7, N)).astype(np.float32) + 0.5
    thresholds = np.repeat(limits[:, None], channels, 1)
    factor, limit = table(factors, "factors"), table(thresholds, "thresholds")
    total = combine(acc, factor, window, blocking, "float32")
    out = bit_output(
        "y",
        batch,
        width,
        width,
        blocking,
        lambda p, at: total[at] >= limit[p, blocking.slot(at)],
        N,
    )
    found, timer = _run(device, plan, inputs, operands, out)
    for n, sums in zip((0, batch - 1), wanted, strict=True):
        fired = sums[None] >= limits[:, None, None, None]  # [N, O, H, W]
        expected = pack_bits(fired.transpose(2, 3, 0, 1), axis=-1)
        np.testing.assert_array_equal(found[n].reshape(expected.shape), expected)

    return GpuLayer(choice.block, 2 * window.macs * batch * M * N, timer)


def int8_layer(
    device: Device, width: int, channels: int, batch: int, tile: BlockTile | None = None
) -> GpuLayer:
    """The same convolution on levels coded as bytes, for any M and N: codes in, codes out.

    Every sum is compared with four thresholds. The first and the last image are checked.
    """
    rng = np.random.default_rng(width)
    window = Window(batch, width, width, channels, channels, (3, 3), (1, 1), (1, 1, 1, 1))
    blocking = Blocking(channels)
    codes = rng.integers(-7, 8, (batch, width, width, 1, code_slots(channels))).astype(np.int8)
    weights = rng.integers(-7, 8, (channels, 3, 3, channels)).astype(np.int8)
    problem = Problem(window, blocking, 1, "int8")
    choice = CudaChoice(block=tile or choose(device, problem))
    plan = Plan(device, problem, choice)
    operands, inputs, table = _tables(codes)
    acc = CUDA.sums(plan, inputs[0], weights, table)
    limits = [-200, -50, 50, 200]
    one, none = (tirx.const(n, "int32") for n in (1, 0))

    def level(at: Any) -> Any:
        passed = [tirx.Select(acc[at] >= tirx.const(n, "int32"), one, none) for n in limits]
        return passed[0] + passed[1] + passed[2] + passed[3]

    shape = blocking.shape(batch, width, width)
    out = code_output("y", batch, width, width, blocking, stage("level", shape, level), "int8")
    found, timer = _run(device, plan, inputs, operands, out)
    for n in (0, batch - 1):
        image = np.pad(codes[n, :, :, 0, :channels].transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1)))
        sums = conv2d(image[None], weights.transpose(0, 3, 1, 2))[0]
        expected = np.sum([sums >= limit for limit in limits], 0).transpose(1, 2, 0)
        stored = found[n].reshape(width, width, -1)[..., :channels]
        np.testing.assert_array_equal(stored, expected)
    return GpuLayer(choice.block, 2 * window.macs * batch, timer)


def _tables(data: np.ndarray) -> tuple[list[np.ndarray], list[te.Tensor], Table]:
    """Operands that begin with ``data``, their placeholders, and what adds one more."""
    operands = [data]
    inputs = [te.placeholder(data.shape, str(data.dtype), name="data")]

    def table(array: np.ndarray, name: str) -> te.Tensor:
        operands.append(array)
        inputs.append(te.placeholder(array.shape, str(array.dtype), name=name))
        return inputs[-1]

    return operands, inputs, table


def _run(
    device: Device,
    plan: Plan,
    inputs: list[te.Tensor],
    operands: list[np.ndarray],
    out: te.Tensor,
) -> tuple[np.ndarray, Timer]:
    """The result of a kernel on the GPU, and what times it there."""
    func = CUDA.schedule(plan, te.create_prim_func([*inputs, out]))
    with stages.device_code_of(device):
        module = tvm.compile(func, device.tvm_target()).jit()
    empty = np.zeros([int(n) for n in out.shape], str(out.dtype))
    tensors = [tvm.runtime.tensor(a, tvm.cuda()) for a in (*operands, empty)]
    module["main"](*tensors)

    def timer(number: int) -> float:
        run = module.time_evaluator("main", tvm.cuda(), number=number, repeat=1)
        return float(run(*tensors).results[0])

    return tensors[-1].numpy(), timer


def weighted(bits: np.ndarray, planes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Weighted sums of differing bits of one image, float32 ``[O, H, W]``.

    ``bits`` uint32 ``[H, W, N, 1, words]``; outside the image every bit is 0.
    """
    m, channels = planes.shape[:2]
    octets = np.ascontiguousarray(bits[:, :, :, 0]).view(np.uint8)
    ones = np.unpackbits(octets, axis=-1, bitorder="little")[..., : planes.shape[-1]]
    signs = np.where(ones.transpose(2, 3, 0, 1), 1, -1).astype(np.int8)  # [N, C, H, W]
    image = np.pad(signs, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    weights = planes.reshape(-1, *planes.shape[2:]).transpose(0, 3, 1, 2)
    dots = conv2d(image, weights)  # [N, M * O, H, W]
    differing = (9 * planes.shape[-1] - dots.reshape(len(dots), m, channels, *dots.shape[2:])) / 2
    total: Any = np.einsum("mn,nmohw->ohw", factors[..., 0], differing)
    return np.asarray(total, np.float32)
