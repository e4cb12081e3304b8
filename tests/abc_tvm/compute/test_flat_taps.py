from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.flat_taps import (
    STEP,
    _fragment,
    flat_counts,
    flat_products,
    pack_flat,
    pack_fragments,
    steps,
)
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.reference.conv import conv2d
from tests.schedules.window_cases import GEOMETRIES, bit_case, call, placeholder


@pytest.mark.parametrize("geometry", [g for g, _ in GEOMETRIES], ids=str)
@pytest.mark.parametrize("pack", [pack_flat, pack_fragments])
def test_counts_in_either_order_of_weights(geometry: dict[str, Any], pack: Any) -> None:
    """The definition that both kernels implement, as plain loops on this processor."""
    case = bit_case(0, **geometry)
    packed = pack(case.planes())
    operands = [case.bits(), packed]
    inputs = [placeholder("A", operands[0]), placeholder("W", packed)]
    m = len(case.weights)
    acc = flat_counts(inputs[0], inputs[1], m, case.window, case.blocking, {})
    empty = np.zeros([int(n) for n in acc.shape], np.int32)
    found = call(te.create_prim_func([*inputs, acc]), [*operands, empty])[-1]
    blocking = case.blocking
    # [B, H, W, G, O, M, P, L] to [B, H, W, channel, M, P]
    wide = np.moveaxis(found, -1, 5).reshape(*found.shape[:3], -1, *found.shape[5:7])
    np.testing.assert_array_equal(wide[:, :, :, blocking.slot_of_channel()], case.counts())


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("depth", [8, 24])
def test_every_word_of_the_fragments_has_a_place_of_its_own(planes: int, depth: int) -> None:
    word, plane, lane = np.meshgrid(
        np.arange(depth), np.arange(planes), np.arange(32), indexing="ij"
    )
    places = _fragment(word, plane, lane, planes).ravel()
    np.testing.assert_array_equal(np.sort(places), np.arange(depth * planes * 32))


def test_ones_stand_behind_the_fragments(rng: np.random.Generator) -> None:
    planes = rng.integers(0, 2**32, (2, 3, 3, 2, 3, 32), np.uint32)
    packed = pack_fragments(planes)
    bits = np.unpackbits(planes.view(np.uint8).reshape(2, -1, 3, 32, 4), axis=-1)
    wanted = bits.sum((1, 4), dtype=np.int64)
    assert packed.shape == (2, steps(9, 2) * STEP * 3 * 32 + 3 * 32)
    np.testing.assert_array_equal(packed[:, -96:].reshape(2, 3, 32), wanted)


def test_products(rng: np.random.Generator) -> None:
    window = Window(1, 5, 4, 3, 5, (3, 2), (1, 1), (1, 0, 1, 1))
    blocking = Blocking(5)
    x = rng.integers(-4, 5, (1, 5, 4, 1, 3)).astype(np.float32)
    w = rng.integers(-4, 5, (5, 3, 3, 2)).astype(np.float32)
    lanes = blocking.spread(w.transpose(2, 3, 1, 0)).reshape(3, 2, 3, 1, 32)
    packed = pack_flat(np.ascontiguousarray(lanes.transpose(3, 0, 1, 2, 4)))
    assert packed.shape == (1, 24, 1, 32)
    inputs = [placeholder("A", x), placeholder("W", packed)]
    acc = flat_products(inputs[0], inputs[1], window, blocking, {})
    empty = np.zeros([int(n) for n in acc.shape], np.float32)
    found = call(te.create_prim_func([*inputs, acc]), [x, packed, empty])[-1]
    image = np.pad(x[:, :, :, 0], ((0, 0), (1, 1), (0, 1), (0, 0))).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found[0, :, :, 0, 0, :5], conv2d(image, w)[0].transpose(1, 2, 0))
