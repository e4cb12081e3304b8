"""Bit convolutions for Arm, compiled and run in emulation, against NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import tvm

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.scheduler import Scheduler, scheduler_of
from abc_tvm.targets import Device, load
from tests import emulated
from tests.schedules.window_cases import (
    GEOMETRIES,
    BitCase,
    Counts,
    all_outputs,
    bit_case,
    placeholder,
    symbolic,
)

DEVICES = ["rpi3", "rpi4", "rpi5", "rpi-armv7"]


def plan_of(made: Scheduler, case: BitCase, window: Window) -> Plan:
    pairs = len(case.weights) * case.activations.shape[3]
    return made.plan(window, case.blocking, pairs, "bits", len(case.weights))


def by_bytes(made: Scheduler) -> Counts:
    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits()]
        inputs = [placeholder("A", operands[0], window.batch)]

        def table(array: np.ndarray, _: str) -> Any:
            operands.append(array)
            inputs.append(placeholder("W", array))
            return inputs[-1]

        plan = plan_of(made, case, window)
        acc = made.family.sums(plan, inputs[0], case.planes(), table)
        return acc, inputs, operands

    return counts


def check(device: Device, case: BitCase, tile: Tile | None = None, shapes: str = "int32") -> None:
    made = scheduler_of(device, None if tile is None else Choice(tile))
    window = symbolic(case.window) if shapes == "symbolic" else case.window
    kernel = all_outputs(case, window, by_bytes(made))
    func = kernel.func(shapes != "int32")
    scheduled = made.schedule(plan_of(made, case, window), func)
    kernel.check(scheduled, run=partial(emulated.call, device=device))


@pytest.mark.parametrize("geometry", [g for g, _ in GEOMETRIES], ids=str)
@pytest.mark.sweep("name", short=["rpi3", "rpi-armv7"], full=DEVICES)
def test_every_output_equals_numpy(geometry: dict[str, Any], name: str) -> None:
    check(load(name), bit_case(0, **geometry))


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("shapes", ["int64", "symbolic"])
def test_index_types(name: str, shapes: str) -> None:
    geometry = {"size": (9, 9), "channels": (65, 64), "kernel": (3, 3), "batch": 2, "M": 3, "P": 3}
    check(load(name), bit_case(1, **geometry), shapes=shapes)


@pytest.mark.parametrize("name", ["rpi4", "rpi5", "rpi-armv7"])
@pytest.mark.sweep("channels", short=[1, 33, 64], full=[1, 31, 32, 33, 63, 64, 65, 130])
def test_channels_round_word_boundaries(name: str, channels: int) -> None:
    border = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
    check(load(name), bit_case(channels, size=(4, 5), channels=(channels, channels), **border))


@pytest.mark.parametrize(
    "tile",
    [
        Tile(1, 1),
        Tile(1, 4, 1, 2),
        Tile(2, 2, 1, 2),
        Tile(1, 7, 1, 4),
        Tile(1, 5, 1, 2),
        Tile(2, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["rpi3", "rpi5"])
def test_tiles(name: str, tile: Tile) -> None:
    case = bit_case(5, size=(8, 8), channels=(160, 40), kernel=(3, 3), stride=(1, 2), P=2)
    check(load(name), case, tile)


@pytest.mark.parametrize("name", ["rpi3", "rpi5", "rpi-armv7"])
@pytest.mark.parametrize("words", [1, 2, 3, 30, 31, 32, 37, 62, 93])
def test_bytes_never_overflow(name: str, words: int) -> None:
    """Every byte of every step adds 8: the most that there can be, up to each widening."""
    case = bit_case(0, size=(1, 2), channels=(32 * words, 32))
    case.activations[:] = 1
    case.weights[:] = 0
    check(load(name), case)


def test_pixels_beyond_the_reach_of_an_immediate_offset() -> None:
    case = bit_case(0, size=(2, 3), channels=(32 * 1100, 32), stride=(1, 2), P=2)
    check(load("rpi3"), case, Tile(2, 2, 1, 2))


@pytest.mark.parametrize(("M", "P"), [(1, 1), (2, 3)])
def test_the_compute_itself_equals_numpy(M: int, P: int) -> None:
    """Its plain loops, which the microkernel replaces, run on any machine."""
    tile = Tile(1, 2, 1, 2)
    case = bit_case(3, size=(5, 5), channels=(40, 70), kernel=(3, 3), dilation=(1, 2), M=M, P=P)
    acc, inputs, operands = by_bytes(scheduler_of(load("rpi4"), Choice(tile)))(case, case.window)
    func = tvm.te.create_prim_func([*inputs, acc])
    arrays = [*operands, np.zeros([int(n) for n in acc.shape], np.int32)]
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    tvm.compile(func, tvm.target.Target("llvm")).jit()["main"](*tensors)
    rows, columns = case.window.out_height, case.window.out_width
    counts = tensors[-1].numpy()[:, :rows, :columns]  # [B, OH, OW, G, O, M, P, L]
    flat = counts.transpose(0, 1, 2, 3, 4, 7, 5, 6).reshape(1, rows, columns, 96, M, P)
    np.testing.assert_array_equal(flat[:, :, :, :70], case.counts())
