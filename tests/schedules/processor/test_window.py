from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import Tile, popcounts, products
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import float_output
from abc_tvm.reference.conv import conv2d
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.processor.window import schedule_window
from tests.schedules.window_cases import (
    GEOMETRIES,
    BitCase,
    Counts,
    all_outputs,
    bit_case,
    call,
    placeholder,
    symbolic,
)


def by_popcount(tile: Tile) -> Counts:
    def counts(case: BitCase, window: Window) -> Any:
        operands = [case.bits(), case.planes()]
        inputs = [placeholder("A", operands[0], window.batch), placeholder("W", operands[1])]
        acc = popcounts(inputs[0], inputs[1], window, case.blocking, tile)
        return acc, inputs, operands

    return counts


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
@pytest.mark.parametrize("shapes", ["int32", "int64", "symbolic"])
def test_every_output_equals_numpy(case: tuple[dict[str, Any], Tile], shapes: str) -> None:
    geometry, tile = case
    bits = bit_case(0, **geometry)
    window = symbolic(bits.window) if shapes == "symbolic" else bits.window
    kernel = all_outputs(bits, window, by_popcount(tile))
    kernel.check(schedule_window(kernel.func(shapes != "int32"), Choice(tile)))


@pytest.mark.sweep(
    "channels",
    short=[1, 33, 64],
    full=[1, 31, 32, 33, 63, 64, 65, 130],
)
def test_channels_round_word_boundaries(channels: int) -> None:
    bits = bit_case(
        channels, size=(4, 5), channels=(channels, channels), kernel=(3, 3), padding=(1, 1, 1, 1)
    )
    tile = Tile(1, 5)
    kernel = all_outputs(bits, bits.window, by_popcount(tile))
    kernel.check(schedule_window(kernel.func(True), Choice(tile), cores=1))


def test_runs_without_vector_instructions_beyond_the_baseline() -> None:
    bits = bit_case(0, size=(5, 5), channels=(64, 64), kernel=(3, 3), M=2)
    kernel = all_outputs(bits, bits.window, by_popcount(Tile(1, 5)))
    kernel.check(schedule_window(kernel.func(False), Choice(Tile(1, 5))), cpu="x86-64")


@pytest.mark.parametrize(
    ("channels", "tile"), [((3, 64), Tile(1, 7)), ((33, 10), Tile(2, 3)), ((64, 96), Tile(1, 4, 3))]
)
@pytest.mark.parametrize("batch", [1, 2])
def test_float_convolution(channels: tuple[int, int], tile: Tile, batch: int) -> None:
    rng = np.random.default_rng(3)
    window = Window(batch, 8, 7, *channels, (3, 3), (1, 1), (1, 1, 1, 1))
    blocking = Blocking(channels[1])
    x = rng.normal(size=(batch, 8, 7, 1, channels[0])).astype(np.float32)
    w = rng.normal(size=(channels[1], channels[0], 3, 3)).astype(np.float32)
    spread = blocking.spread(w.transpose(2, 3, 1, 0))
    lanes = spread.reshape(3, 3, channels[0], blocking.blocks, -1).transpose(3, 0, 1, 2, 4)
    operands = [x, np.ascontiguousarray(lanes)]
    inputs = [placeholder("A", operands[0]), placeholder("W", operands[1])]
    acc = products(inputs[0], inputs[1], window, blocking, tile)
    out = float_output("y", batch, 8, 7, blocking, lambda at: acc[at])
    func = schedule_window(te.create_prim_func([*inputs, out]), Choice(tile))
    y = call(func, [*operands, np.zeros([int(n) for n in out.shape], np.float32)])[-1]
    expected = conv2d(x[:, :, :, 0].transpose(0, 3, 1, 2), w, padding=1).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-4, atol=1e-3)
