"""Which lowerings a measurement decides between, and what layers it is a measurement of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.lowerings.doubt import DOUBT, in_doubt, layer_key

WINDOW = Window(1, 8, 9, 32, 64, (3, 2), (2, 1), (0, 1, 2, 3), (1, 2), 4)


@pytest.mark.parametrize(
    ("costs", "wanted"),
    [
        ({"float": 1.0}, ["float"]),
        ({"float": 1.0, "bitserial": 0.9}, ["bitserial", "float"]),
        ({"float": 1.0, "bitserial": 1.0}, ["float", "bitserial"]),
        ({"float": DOUBT * 0.2, "bitserial": 0.2}, ["bitserial"]),
        ({"float": DOUBT * 0.2 - 0.01, "bitserial": 0.2}, ["bitserial", "float"]),
        ({"bitserial": 3.0, "float": 1.0, "int8": 0.45}, ["int8", "float"]),
    ],
    ids=["alone", "cheapest first", "equal", "at the edge", "within", "the dearest is out"],
)
def test_in_doubt(costs: dict[str, float], wanted: list[str]) -> None:
    assert in_doubt(costs) == wanted


def test_the_key_of_a_layer() -> None:
    key = layer_key(WINDOW, 3, 2, 5)
    assert key == "8x9x32-o64-k3x2-s2x1-p0x1x2x3-d1x2-g4-M3-P2-T5"


def test_the_batch_is_not_in_it() -> None:
    assert layer_key(replace(WINDOW, batch=7), 1, 1, 1) == layer_key(WINDOW, 1, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 9}, {"width": 8}, {"in_channels": 36}, {"out_channels": 32}, {"kernel": (2, 3)},
        {"stride": (1, 2)}, {"padding": (1, 0, 2, 3)}, {"dilation": (2, 1)}, {"groups": 2},
    ],
    ids=str,
)  # fmt: skip
def test_all_else_is(change: dict[str, Any]) -> None:
    assert layer_key(replace(WINDOW, **change), 1, 1, 1) != layer_key(WINDOW, 1, 1, 1)


def test_numbers_of_planes_are_not_mixed_up() -> None:
    keys = {layer_key(WINDOW, *numbers) for numbers in ((1, 1, 2), (1, 2, 1), (2, 1, 1))}
    assert len(keys) == 3
