from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import (
    IMAGE,
    PLANES,
    Tile,
    combine,
    pad_spatial,
    popcounts,
    products,
)
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.reference.conv import conv2d
from tests.schedules.window_cases import GEOMETRIES, bit_case, call, placeholder


def computed(inputs: list[te.Tensor], out: te.Tensor, values: list[np.ndarray]) -> np.ndarray:
    """What the plain loops of ``out`` give."""
    empty = np.zeros([int(n) for n in out.shape], str(out.dtype))
    return call(te.create_prim_func([*inputs, out]), [*values, empty])[-1]


@pytest.mark.parametrize(("geometry", "tile"), GEOMETRIES, ids=str)
def test_popcounts(geometry: dict[str, Any], tile: Tile) -> None:
    case = bit_case(1, **geometry)
    values = [case.bits(), case.planes()]
    inputs = [placeholder("A", values[0]), placeholder("W", values[1])]
    acc = popcounts(*inputs, case.window, case.blocking, tile)
    assert acc.shape[1:3] == list(tile.padded(case.window))
    rows, columns = case.window.out_height, case.window.out_width
    counts = computed(inputs, acc, values)[:, :rows, :columns]  # [B, OH, OW, G, O, M, P, L]
    by_slot = np.moveaxis(counts, -1, 5).reshape(*counts.shape[:3], -1, *counts.shape[5:7])
    np.testing.assert_array_equal(by_slot[:, :, :, case.blocking.slot_of_channel()], case.counts())


def test_products_of_groups(rng: np.random.Generator) -> None:
    window = Window(2, 5, 6, 6, 10, (3, 2), (2, 1), (1, 0, 1, 1), (1, 2), groups=2)
    blocking, tile = Blocking(10, 2), Tile(2, 4)
    x = rng.integers(-4, 5, (2, 5, 6, 2, 3)).astype(np.float32)
    w = rng.integers(-4, 5, (10, 3, 3, 2)).astype(np.float32)
    spread = blocking.spread(w.transpose(2, 3, 1, 0)).reshape(3, 2, 3, 2, 32)
    packed = np.ascontiguousarray(spread.transpose(3, 0, 1, 2, 4))
    inputs = [placeholder("A", x), placeholder("W", packed)]
    sums = computed(inputs, products(*inputs, window, blocking, tile), [x, packed])
    image = np.pad(x.reshape(2, 5, 6, 6), ((0, 0), (1, 1), (0, 1), (0, 0))).transpose(0, 3, 1, 2)
    expected = conv2d(image, w, stride=(2, 1), dilation=(1, 2), groups=2).transpose(0, 2, 3, 1)
    flat = sums[:, : window.out_height, : window.out_width].reshape(*expected.shape[:3], -1)
    np.testing.assert_array_equal(flat[..., blocking.slot_of_channel()], expected)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("dtype", "middle"), [("int32", 0), ("float32", 16)])
def test_combine_weighs_the_planes(
    per_channel: bool, dtype: str, middle: int, rng: np.random.Generator
) -> None:
    window, blocking = Window(1, 2, 3, 32, 40), Blocking(40)
    counts = rng.integers(0, 33, (1, 4, 4, 1, 2, 2, 3, 32)).astype(np.int32)  # 4x4: whole tiles
    factors = rng.integers(-3, 4, (2, 3, blocking.slots if per_channel else 1)).astype(dtype)
    inputs = [placeholder("C", counts), placeholder("K", factors)]
    out = combine(*inputs, window, blocking, dtype, middle)
    weighed = computed(inputs, out, [counts, factors])
    by_slot = np.broadcast_to(factors, (2, 3, blocking.slots)).reshape(2, 3, 2, 32)
    shifted = counts[:, :2, :3].astype(np.int64) - middle
    np.testing.assert_array_equal(weighed, np.einsum("bhwgompl,mpol->bhwgol", shifted, by_slot))


def test_nothing_is_copied_without_a_border() -> None:
    data = te.placeholder((1, 4, 4, 2), "uint32", name="x")
    assert pad_spatial(data, Window(1, 4, 4, 64, 8, (3, 3)), Tile()) is data
    assert pad_spatial(data, Window(1, 4, 4, 64, 8, (3, 3)), Tile(2, 2)) is data
    assert pad_spatial(data, Window(1, 4, 4, 64, 8, (3, 3)), Tile(1, 3)) is not data


def test_the_border_holds_its_fill_and_reaches_whole_tiles() -> None:
    window = Window(1, 3, 4, 2, 8, (2, 2), padding=(1, 2, 0, 1))
    values = np.arange(24, dtype=np.int32).reshape(1, 3, 4, 2)
    data = placeholder("x", values)
    padded = pad_spatial(data, window, Tile(2, 4), fill=7)
    made = computed([data], padded, [values])
    # 3 x 6 outputs are 4 x 8 in whole tiles, which read 5 x 9 elements.
    expected = np.full((1, 5, 9, 2), 7)
    expected[:, 1:4, 2:6] = values
    np.testing.assert_array_equal(made, expected)
    assert [int(n) for n in padded.op.attrs[IMAGE]] == [2, 4]


def test_copies_lie_along_a_new_axis() -> None:
    values = np.arange(4, dtype=np.uint32).reshape(1, 2, 2, 1)
    data = placeholder("x", values)
    made = computed([data], pad_spatial(data, Window(1, 2, 2, 32, 8), Tile(), copies=4), [values])
    np.testing.assert_array_equal(made, np.repeat(values[..., None], 4, -1))


def test_pairs_of_planes_in_one_pass() -> None:
    held = {planes: Tile(planes=planes).pairs(2, 6) for planes in PLANES}
    assert held == {"inside": 6, "weights": 3, "activations": 2, "outside": 1}
