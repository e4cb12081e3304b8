"""Planes against planes: the numbers, the code that is written, and what it would cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abc_tvm.relay_passes.lowerings.bitserial import BITSERIAL
from abc_tvm.relay_passes.rewrite import op_name
from tests.relay_passes.kernel_runs import Eager
from tests.relay_passes.lowerings.layer_cases import LAYERS, layer_case


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_and_codes(name: str) -> None:
    """The very sums of the layer; what it reads, decoded, are its levels."""
    case = layer_case(**LAYERS[name])
    anchor, emitter = case.encoded(BITSERIAL)
    np.testing.assert_array_equal(emitter.result(anchor), case.wanted)
    codec = BITSERIAL.codec(anchor, emitter.emitted[-1], case.weight)
    bits = emitter.arrays[anchor.args[0]]
    np.testing.assert_array_equal(codec.levels(codec.unpack(bits)), case.read)
    assert BITSERIAL.pairs(anchor) == case.candidate.pairs
    wanted = ["abc.encode_bitserial", "abc.pool_bitserial"][: 1 + (case.reading.pool is not None)]
    assert [op_name(call) for call in emitter.emitted] == wanted


def test_scales_that_are_no_multiples() -> None:
    """Float sums of counts, up to rounding."""
    alpha = np.float32([[0.61, 0.3, 0.77], [0.23, 0.19, -0.5]])
    case = layer_case(9, 3, alpha=alpha, levels=(-1.1, 0.3, 1), padding=[1, 1, 1, 1])
    np.testing.assert_allclose(case.result(BITSERIAL), case.wanted, rtol=0, atol=2e-5)


def test_a_factor_between_levels_and_alpha_is_in_the_codec() -> None:
    """The float layer's weights may be those of the planes, halved, on levels of twice the size."""
    case = layer_case(5, 4, levels=(0, 1, 3))
    anchor, emitter = case.encoded(BITSERIAL)
    codec = BITSERIAL.codec(anchor, emitter.emitted[-1], case.weight / 2)
    bits = codec.unpack(emitter.arrays[anchor.args[0]])
    np.testing.assert_array_equal(codec.levels(bits), 2 * case.read)


def test_activations_of_two_kinds_are_refused() -> None:
    case = layer_case(4, 4)
    emitter = Eager({})
    mixed = replace(case.reading, mixed=True)
    refusal = BITSERIAL.encode(case.candidate, mixed, emitter, 0.0)
    assert refusal == "pooling between activations of two kinds" and not emitter.emitted


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ({"channels": 32, "outs": 64, "alpha": [1.0] * 5}, "10 pairs of planes would take"),
        ({"channels": 32, "outs": 1}, "2 pairs of planes behind 2 thresholds would take"),
        ({"channels": 24, "outs": 64}, "2 pairs of planes would take"),
        ({"channels": 23, "outs": 64}, "2 pairs of planes on 23 channels of 32-bit words would"),
        ({"channels": 56, "outs": 64}, "2 pairs of planes would take"),
        (
            {"channels": 46, "outs": 2, "groups": 2},
            "2 pairs of planes behind 2 thresholds on 23 channels of 32-bit words would take",
        ),
    ],
)
def test_why_float_is_quicker(layer: dict[str, Any], text: str) -> None:
    """Thresholds are named where they cost more than a quarter, words if less than 3/4 full."""
    case = layer_case(**layer)
    candidate, window = case.candidate, case.candidate.window
    offer = BITSERIAL.offer(candidate, rival=0.0)
    full = window.group_in / (32 * -(-window.group_in // 32))
    wanted = candidate.pairs * 0.0435 / full + candidate.compared
    assert offer.cost == pytest.approx(wanted) and not offer.refused and offer.moved is None
    assert offer.dearer.startswith(text)
    end = f" {wanted:.1f}x the time of float on zen4; force with lowering=bitserial"
    assert offer.dearer.endswith(end)


@pytest.mark.parametrize(
    ("at", "reason"), [((0.0, 0.5), ""), ((-1, 0, 1), "3 thresholds in 2 planes")]
)
def test_the_row(at: tuple[float, ...], reason: str) -> None:
    case = layer_case(33, 4, at=at, alpha=(1.0, 0.5))
    case.candidate.N = len(at)
    offer = BITSERIAL.offer(case.candidate, rival=1.0)
    outcome = BITSERIAL.outcome(case.candidate, offer)
    assert (outcome.reason, outcome.error_bound) == (reason, None)
    assert outcome.weight_bytes == 4 * 3 * 2 * 2 * 4 * 2, "outs, taps, words, bytes, bases"
