"""Padding of bits and bytes by the code of a level, against NumPy; the operator and its window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tvm import relax

from abc_tvm.compute.geometry import words
from abc_tvm.relay_passes.analysis.padding import Padding, pad
from abc_tvm.relay_passes.lowerings.bitserial import BITSERIAL
from abc_tvm.relay_passes.lowerings.coded_padding import packed_level
from abc_tvm.relay_passes.lowerings.int8 import INT8
from abc_tvm.relay_passes.lowerings.lowering import Lowering
from abc_tvm.relay_passes.rewrite import array_of
from tests.relay_passes.kernel_runs import convolved
from tests.relay_passes.lowerings.layer_cases import LayerCase, layer_case
from tests.relay_passes.lowerings.toy import TOY
from tests.relay_passes.relax_graph import binary
from tests.schedules.window_cases import pack

SIDES = {
    "all": (1, 1, 1, 1),
    "differ": (0, 2, 3, 1),
    "one": (0, 0, 0, 2),
    "wider than the image": (6, 0, 7, 6),
}
"""Top, left, bottom, right."""


def padded(case: LayerCase, index: int, sides: tuple[int, ...]) -> LayerCase:
    """The same layer on levels that are padded by the one with this index."""
    level = float(case.candidate.steps.levels[index])
    top, left, bottom, right = sides
    rows = ((0, 0), (top, bottom), (left, right), (0, 0))
    source = case.candidate.call.args[0]
    wide = relax.BlockBuilder().normalize(pad(source, Padding(rows, level)))
    call = case.candidate.call
    attrs: dict[str, Any] = {
        name: list(call.attrs[name]) for name in ("strides", "padding", "dilation")
    }
    attrs["groups"] = int(call.attrs["groups"])
    planes, alpha = (array_of(a) for a in call.args[1:3])
    again = binary(relax.Var("padded", wide.ty), planes, alpha, **attrs)
    candidate = type(case.candidate)(again, case.candidate.steps, case.candidate.device)
    read = np.pad(case.read, rows, constant_values=np.float32(level))
    wanted = convolved(read, case.weight, candidate.window)
    return replace(
        case,
        candidate=candidate,
        reading=replace(case.reading, pad=wide),
        read=read,
        wanted=wanted,
    )


def check(case: LayerCase, lowering: Lowering) -> None:
    """The very sums; what the layer reads, decoded, are padded levels."""
    anchor, emitter = case.encoded(lowering)
    wide = lowering.padded(case.candidate, case.reading, anchor, emitter)
    assert isinstance(wide, relax.Var)
    anchor = relax.Call(anchor.op, [wide, *anchor.args[1:]], anchor.attrs)
    np.testing.assert_array_equal(emitter.result(anchor), case.wanted)
    codec = lowering.codec(anchor, emitter.emitted[-1], case.weight)
    assert codec is not None
    data = emitter.arrays[wide]
    kinds = np.array([codec.levels(p) for p in codec.patterns])
    np.testing.assert_allclose(kinds[codec.index(data)], case.read, rtol=1e-6)


LAYERS: dict[str, dict[str, Any]] = {
    **{f"{c} channels": {"channels": c, "outs": 3} for c in (1, 31, 32, 33, 64)},
    "one threshold": {"channels": 33, "outs": 5, "at": (0.25,), "levels": (-1, 1)},
    "turned": {"channels": 33, "outs": 4, "turned": True},
    "binary code": {"channels": 40, "outs": 3, "at": (-1, 0, 1)},
    "three planes": {"channels": 9, "outs": 3, "at": (-1, -0.5, 0, 1), "levels": (0, 1, 2, 4, 5)},
    "groups": {"channels": 66, "outs": 4, "groups": 2},
    "two bases": {"channels": 6, "outs": 3, "alpha": (1.0, 0.5)},
    "stride and dilation": {"channels": 9, "outs": 3, "strides": [2, 1], "dilation": [1, 2]},
    "zeros as well": {"channels": 9, "outs": 3, "padding": [1, 0, 0, 2]},
    "pooled": {"channels": 33, "outs": 3, "pool": "behind"},
    "pooled in front, turned": {"channels": 33, "outs": 3, "pool": "in front", "turned": True},
    "pooled in front, binary": {"channels": 5, "outs": 3, "pool": "in front", "at": (-1, 0, 1)},
}


@pytest.mark.parametrize("lowering", [BITSERIAL, INT8], ids=lambda one: one.name)
@pytest.mark.parametrize("name", LAYERS)
def test_every_level(name: str, lowering: Lowering) -> None:
    case = layer_case(**LAYERS[name])
    for index in range(len(case.candidate.steps.levels)):
        check(padded(case, index, SIDES["differ"]), lowering)


@pytest.mark.parametrize("lowering", [BITSERIAL, INT8], ids=lambda one: one.name)
@pytest.mark.parametrize("sides", SIDES)
def test_sides(sides: str, lowering: Lowering) -> None:
    check(padded(layer_case(33, 2), 2, SIDES[sides]), lowering)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("inside", [1, 31, 32, 33])
def test_bits_past_the_last_channel_are_none(inside: int, groups: int) -> None:
    found = packed_level(np.array([1, 0]), inside * groups, groups)
    assert found.shape == (2, groups, words(inside)) and not found[1].any()
    np.testing.assert_array_equal(found[0], pack(np.ones((groups, inside), bool)))


def test_a_lowering_that_cannot() -> None:
    """One from outside that says nothing of padding refuses, and the layer runs in float."""
    case = padded(layer_case(4, 4), 0, SIDES["all"])
    anchor, emitter = case.encoded(BITSERIAL)
    reason = TOY.padded(case.candidate, case.reading, anchor, emitter)
    assert reason == f"{TOY.title} cannot pad with a level, as the Pad before it does"
