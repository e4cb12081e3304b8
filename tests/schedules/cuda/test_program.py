"""The very kernels that go to a GPU, thread by thread, against NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tvm import te, tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import float_output
from abc_tvm.reference.conv import conv2d
from abc_tvm.schedules.cuda.tiles import BlockTile, Unit
from tests.schedules.cuda.cases import counts_of, kernels, run_on, scheduled
from tests.schedules.window_cases import GEOMETRIES, all_outputs, bit_case, placeholder

pytestmark = pytest.mark.usefixtures("cuda_emulation")

CORES, TENSOR = BlockTile(2, 1, 2, 1, "cores"), BlockTile(2, 1, 2, 1, "tensor")


def check(geometry: dict[str, Any], tile: BlockTile | None, name: str, batch: str = "") -> None:
    case = bit_case(0, **geometry)
    open_batch = tirx.Var("n", "int32")  # as the passes make it
    window = replace(case.window, batch=open_batch) if batch == "symbolic" else case.window
    made = kernels(tile, name)
    kernel = all_outputs(case, window, counts_of(made))
    kernel.check(scheduled(made, kernel.func(False)), run=run_on(made))


@pytest.mark.parametrize("geometry", [g for g, _ in GEOMETRIES], ids=str)
@pytest.mark.parametrize(
    ("name", "tile"),
    [("cuda-sm75", TENSOR), ("cuda-sm80", TENSOR), ("cuda-sm80", CORES)],
    ids=["xor", "and", "cores"],
)
def test_every_output_equals_numpy(geometry: dict[str, Any], name: str, tile: BlockTile) -> None:
    check(geometry, tile, name)


@pytest.mark.parametrize("name", ["cuda-sm75", "cuda-sm80", "cuda-sm86", "cuda-sm89", "cuda-sm90"])
@pytest.mark.parametrize("geometry", [GEOMETRIES[3][0], GEOMETRIES[4][0]], ids=str)
def test_the_default_tile_of_every_architecture(geometry: dict[str, Any], name: str) -> None:
    check(geometry, None, name, "symbolic")


@pytest.mark.parametrize("unit", ["cores", "tensor"])
@pytest.mark.sweep("channels", short=[1, 33, 64], full=[1, 31, 32, 33, 63, 64, 65, 130, 256])
def test_channels_round_word_boundaries(channels: int, unit: Unit) -> None:
    shape = {"size": (4, 5), "channels": (channels, channels), "kernel": (3, 3)}
    tile = BlockTile(2, 1, 1, 1, unit)
    check({**shape, "padding": (1, 1, 1, 1)}, tile, "cuda-sm80")


@pytest.mark.parametrize(
    "tile",
    [
        BlockTile(1, 1, 1, 1, "cores"),
        BlockTile(4, 2, 1, 2, "cores"),
        BlockTile(8, 1, 2, 2, "cores"),
        BlockTile(1, 4, 8, 1, "cores"),
        BlockTile(2, 2, 1, 2, "tensor"),
        BlockTile(4, 1, 2, 2, "tensor"),
        BlockTile(8, 1, 1, 4, "tensor"),
        BlockTile(2, 4, 8, 1, "tensor"),
        BlockTile(2, 2, 1, 2, "cores", 2),
        BlockTile(2, 1, 2, 2, "tensor", 4),
    ],
    ids=str,
)
def test_tiles_of_several_warps_and_blocks(tile: BlockTile) -> None:
    shape = {"size": (7, 5), "channels": (96, 128), "kernel": (3, 3), "batch": 3}
    shape |= {"M": 4, "P": 2} if tile.rounds > 1 else {}
    check({**shape, "padding": (1, 1, 1, 1)}, tile, "cuda-sm80", "symbolic")


@pytest.mark.parametrize("channels", [(3, 64), (33, 10), (8, 96)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("tile", [None, BlockTile(4, 1, 2, 1)], ids=["default", "4x1x2x1"])
def test_float_convolution(
    channels: tuple[int, int], groups: int, tile: BlockTile | None, rng: np.random.Generator
) -> None:
    ic, oc = channels[0] * groups, channels[1] * groups
    window = Window(2, 8, 7, ic, oc, (3, 3), (2, 1), (1, 1, 1, 1), groups=groups)
    blocking = Blocking(oc, groups)
    # Small integers: their sums are exact in any order.
    x = rng.integers(-4, 5, (2, 8, 7, ic)).astype(np.float32)
    w = rng.integers(-4, 5, (oc, channels[0], 3, 3)).astype(np.float32)
    spread = blocking.spread(w.transpose(2, 3, 1, 0))
    lanes = spread.reshape(3, 3, channels[0], groups * blocking.blocks, -1).transpose(3, 0, 1, 2, 4)
    made = kernels(tile)
    operands = [x.reshape(2, 8, 7, groups, channels[0])]
    inputs = [placeholder("A", operands[0])]

    def table(array: np.ndarray, name: str) -> te.Tensor:
        operands.append(array)
        inputs.append(placeholder("W", array))
        return inputs[-1]

    weights = np.ascontiguousarray(lanes)
    plan = made.plan(window, blocking, 1, "float")
    acc = made.family.sums(plan, inputs[0], weights, table)
    size = (2, window.out_height, window.out_width)
    out = float_output("y", *size, blocking, lambda at: acc[at])
    func = scheduled(made, te.create_prim_func([*inputs, out]))
    empty = np.zeros([int(n) for n in out.shape], np.float32)
    y = run_on(made)(func, [*operands, empty])[-1]
    image = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((*size, oc), np.float32)
    for g in range(groups):
        part = image[..., g * channels[0] : (g + 1) * channels[0]].transpose(0, 3, 1, 2)
        at = slice(g * channels[1], (g + 1) * channels[1])
        full = conv2d(part, w[at]).transpose(0, 2, 3, 1)
        expected[..., at] = full[:, ::2]
    np.testing.assert_array_equal(y.reshape(expected.shape), expected)


def test_one_wrong_weight_is_seen() -> None:
    """The comparison itself: a kernel on other weights fails it."""
    case = bit_case(0, size=(4, 4), channels=(64, 64), kernel=(3, 3))
    made = kernels(TENSOR)
    kernel = all_outputs(case, case.window, counts_of(made))
    values = list(kernel.values)
    values[1] = values[1].copy()
    values[1][0, 0, 5] ^= 1 << 7
    other = replace(kernel, values=values)
    with pytest.raises(AssertionError):
        other.check(scheduled(made, other.func(False)), run=run_on(made))
