"""Narrow groups on bytes: the numbers, how codes lie, and what a layer is said to cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.relay_passes.lowerings.int8 import INT8
from abc_tvm.relay_passes.lowerings.int8_form import int8_form
from abc_tvm.relay_passes.lowerings.int8_narrow import (
    DEPTHWISE,
    GROUPED,
    groups_read,
    narrow_code,
    weight_bytes,
)
from abc_tvm.relay_passes.rewrite import shape_of
from tests.relay_passes.lowerings.layer_cases import layer_case

NARROW: dict[str, dict[str, Any]] = {
    "depthwise": {"channels": 33, "outs": 33, "padding": [1, 0, 2, 1]},
    "levels with a base": {
        "channels": 32, "outs": 32, "levels": (-1.5, 0.5, 1), "padding": [1, 1, 1, 1],
        "turned": True,
    },
    "two outputs": {"channels": 6, "outs": 12, "groups": 6, "strides": [2, 1], "turned": True},
    "two inputs": {"channels": 10, "outs": 5, "groups": 5, "padding": [0, 1, 2, 0]},
    "three of both": {"channels": 99, "outs": 99, "groups": 33, "dilation": [1, 2]},
    "scales of channels": {
        "channels": 3, "outs": 3, "padding": [1, 0, 1, 0],
        "alpha": [[1, 0.25, 3], [0.5, 0.125, 1.5]],
    },
    "pooling behind": {"channels": 33, "outs": 33, "pool": "behind", "turned": True},
    "pooling in front, turned": {
        "channels": 66, "outs": 66, "groups": 33, "pool": "in front", "turned": True,
        "levels": (-1, 0.5, 2), "padding": [0, 1, 0, 1],
    },
}  # fmt: skip
"""Of whole numbers and halves, so that every sum is exact."""


@pytest.mark.parametrize("device", ["zen4", "haswell", "rpi4", "rpi5"])
@pytest.mark.parametrize("name", NARROW)
def test_numbers_and_codes(name: str, device: str) -> None:
    """The very sums of the layer; what it reads, decoded, are its levels. No dot product needed."""
    options = NARROW[name]
    case = layer_case(**{"groups": options["channels"], **options}, device=device)
    anchor, emitter = case.encoded(INT8)
    np.testing.assert_array_equal(emitter.result(anchor), case.wanted)
    assert shape_of(anchor.args[0])[3] == 1 and groups_read(anchor) == 1
    codec = INT8.codec(anchor, emitter.emitted[-1], case.weight)
    codes = emitter.arrays[anchor.args[0]]
    assert codes.dtype == ("int8" if device.startswith("rpi") else "uint8")
    np.testing.assert_array_equal(codec.levels(codec.patterns)[codec.index(codes)], case.read)


@pytest.mark.parametrize(("device", "groups"), [("zen4", 1), ("cuda-sm80", 6)])
def test_gpus_keep_a_group_after_the_other(device: str, groups: int) -> None:
    case = layer_case(6, 6, groups=6, device=device)
    anchor, _ = case.encoded(INT8)
    assert shape_of(anchor.args[0])[3] == groups_read(anchor) == groups
    assert (narrow_code(case.candidate) is None) == (groups > 1)


def cost(**options: Any) -> float:
    offer = INT8.offer(layer_case(**options).candidate, rival=9.0)
    assert offer is not None and not offer.refused
    return offer.cost


def test_what_it_costs() -> None:
    """By the type of the sums; a step of some thresholds takes no more than in float."""
    signs = cost(channels=64, outs=64, groups=64)
    assert signs == DEPTHWISE["int8"]
    assert cost(channels=64, outs=64, groups=64, alpha=(2.0, 1.0)) == DEPTHWISE["int16"]
    some, even, uneven = (
        cost(channels=64, outs=64, groups=64, at=tuple(at))
        for at in (np.arange(15) / 32.0, np.arange(200) / 32.0, np.arange(200.0) ** 2)
    )
    assert some == signs
    assert even in DEPTHWISE.values(), "at even distances they are counted: sums alone cost"
    assert uneven > 1, "200 thresholds for an input's few products"
    grouped = cost(channels=64, outs=128, groups=64)
    assert grouped == GROUPED * DEPTHWISE["int8"]
    assert cost(channels=64, outs=64, groups=64, device="rpi4") == signs


def test_bytes_of_weights() -> None:
    layer = layer_case(33, 66, groups=33).candidate
    offer = INT8.offer(layer, rival=9.0)
    assert offer is not None
    assert INT8.outcome(layer, offer).weight_bytes == weight_bytes(layer.window) == 6 * 96


def test_large_weights_have_wide_sums() -> None:
    """The form is the one of every other layer; its sums are as wide as it needs them."""
    levels = np.arange(256, dtype=np.float32)
    layer = layer_case(64, 64, groups=64, alpha=(32.0, 16.0, 8.0, 4.0), levels=levels,
                       at=tuple(np.arange(255) / 64.0)).candidate  # fmt: skip
    form = int8_form(layer.planes, layer.alpha, levels, "uint8")
    assert form is not None and int(np.abs(form.weights).max()) == 15
    assert cost(channels=64, outs=64, groups=64, alpha=(32.0, 16.0, 8.0, 4.0)) == DEPTHWISE["int16"]
