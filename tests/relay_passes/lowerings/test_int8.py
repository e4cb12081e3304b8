"""Levels as bytes: the numbers, when rounding is refused, and what the row says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from abc_tvm.relay_passes.lowerings import int8
from abc_tvm.relay_passes.lowerings.candidate import HINT, Candidate, Offer
from abc_tvm.relay_passes.lowerings.int8 import INT8
from abc_tvm.relay_passes.rewrite import array_of, op_name
from tests.relay_passes.lowerings.layer_cases import LAYERS, layer_case

UNEVEN = np.float32([[0.61], [0.23], [0.0917]])
"""Scales that are no multiples of one number, nor of a 127th of their sum."""


@pytest.mark.parametrize("device", ["zen4", "rpi5"])
@pytest.mark.parametrize("name", LAYERS)
def test_numbers_and_codes(name: str, device: str) -> None:
    """The very sums of the layer; what it reads, decoded, are its levels."""
    case = layer_case(**LAYERS[name], device=device)
    anchor, emitter = case.encoded(INT8)
    np.testing.assert_array_equal(emitter.result(anchor), case.wanted)
    codec = INT8.codec(anchor, emitter.emitted[-1], case.weight)
    codes = emitter.arrays[anchor.args[0]]
    assert codes.dtype == ("uint8" if device == "zen4" else "int8")
    np.testing.assert_array_equal(codec.levels(codec.patterns)[codec.index(codes)], case.read)
    wanted = ["abc.encode_int8", "abc.pool_int8"][: 1 + (case.reading.pool is not None)]
    assert [op_name(call) for call in emitter.emitted] == wanted


def test_what_it_costs() -> None:
    """Four channels are one dot product: five take as long as eight."""
    for channels, filled in ((4, 1.0), (5, 8 / 5), (8, 1.0)):
        layer = layer_case(channels, 64, alpha=(1.0, 0.5)).candidate
        offer = INT8.offer(layer, rival=1.0)
        assert offer is not None and not offer.refused and offer.moved is None
        assert offer.cost == pytest.approx(0.25 * filled + layer.compared)


@pytest.mark.parametrize("device", ["haswell", "rpi4"])
def test_no_offer_without_dot_products(device: str) -> None:
    assert INT8.offer(layer_case(8, 4, device=device).candidate, rival=9.0) is None


def uneven(allowed: float | None = None) -> Candidate:
    layer = layer_case(32, 64, alpha=UNEVEN).candidate
    layer.allowed = allowed
    return layer


def test_rounding_needs_the_users_word() -> None:
    offer = INT8.offer(uneven(), rival=1.0)
    assert offer is not None and offer.moved is not None and 0 < offer.moved.error < 0.01
    assert offer.refused == (
        f"rounding to it may change a sum by {offer.moved.error:.2%} of its largest value: "
        "allow it with --allow-int8"
    )


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_rounding_within_what_is_allowed(factor: float) -> None:
    free = INT8.offer(uneven(), rival=1.0)
    assert free is not None and free.moved is not None
    error = free.moved.error
    offer = INT8.offer(uneven(allowed=factor * error), rival=1.0)
    assert offer is not None
    if factor < 1:
        assert offer.refused.endswith(f"more than the {factor * error:.2%} that are allowed")
    else:
        assert offer.refused == ""


def test_what_nobody_would_take_is_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dearer than ``HINT`` of the others, and not allowed: the row would not mention it."""
    cost = INT8.offer(uneven(), rival=100.0).cost

    def fail(*_: object) -> None:
        raise AssertionError("it was rounded")

    monkeypatch.setattr(int8, "rounded", fail)
    assert INT8.offer(uneven(), rival=cost / HINT) is None
    with pytest.raises(AssertionError, match="rounded"):
        INT8.offer(uneven(), rival=1.01 * cost / HINT)
    with pytest.raises(AssertionError, match="rounded"):
        INT8.offer(uneven(allowed=0.5), rival=0.01)


def test_what_has_no_bytes_even_rounded_gets_no_offer() -> None:
    layer = layer_case(8, 4, at=(0.0,), levels=(0.0, 0.0)).candidate
    assert INT8.offer(layer, rival=100.0) is None


def test_the_row() -> None:
    layer = layer_case(9, 64, alpha=(1.0, 0.5)).candidate
    outcome = INT8.outcome(layer, Offer(0.5))
    assert (outcome.reason, outcome.error_bound) == ("4 pairs of planes as int8, exact", 0.0)
    assert outcome.weight_bytes == 64 * 6 * 12, "outs, taps, channels in fours"
    one = layer_case(4, 64, at=(0.0,)).candidate
    assert INT8.outcome(one, Offer(0.5)).reason == "one pair of planes as int8, exact"


def test_the_row_of_a_rounded_layer() -> None:
    layer = uneven(allowed=0.5)
    offer = INT8.offer(layer, rival=1.0)
    assert offer is not None and offer.moved is not None
    outcome = INT8.outcome(layer, offer)
    assert outcome.error_bound == offer.moved.error
    assert outcome.reason == (
        f"6 pairs of planes as int8, sums rounded by at most {offer.moved.error:.2%} of the largest"
    )


def test_a_layer_without_a_form_is_not_encoded() -> None:
    case = layer_case(32, 4, alpha=UNEVEN)
    with pytest.raises(TypeError, match="has no such form"):
        case.encoded(INT8)


def test_a_rounded_layer_stays_within_its_bound() -> None:
    """With scales and levels of its own, as the chooser gives them."""
    case = layer_case(32, 5, alpha=UNEVEN, at=(-1, 0, 1), levels=(0, 1, 2, 3.3))
    offer = INT8.offer(case.candidate, rival=100.0)
    assert offer is not None and offer.moved is not None
    moved = offer.moved
    step, call = case.candidate.steps, case.candidate.call
    chosen = Candidate(call, replace(step, levels=moved.levels), case.candidate.device)
    chosen.alpha = moved.alpha
    case.candidate = chosen
    anchor, emitter = case.encoded(INT8)
    most = np.abs(case.weight).reshape(5, -1).sum(1) * np.abs(step.levels).max()
    error = np.abs(emitter.result(anchor) - case.wanted)
    assert error.max() > 0 and np.all(error <= (1 + 1e-6) * moved.error * most)
    assert array_of(anchor.args[1]).dtype == np.int8
