"""How a layer reads its activation: index, codes and levels, by comparing with each threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import FLOAT, RelaxGraph
from abc_tvm.checks.opinion import codes
from abc_tvm.checks.opinion.codes import FEW_THRESHOLDS, Disagrees, Reading, reading_of
from abc_tvm.relay_passes.ops import make
from tests.abc_tvm.checks.opinion import networks
from tests.abc_tvm.checks.opinion.networks import judged
from tests.relay_passes.harness import Net


def readings(model: Any, lowering: str = "bitserial") -> list[Reading]:
    graph = RelaxGraph(judged(model, lowering)[2])
    return [reading_of(graph, layer) for layer in graph.layers if layer.kind != FLOAT]


@pytest.fixture(scope="module", params=["bitserial", "int8"])
def levels(request: pytest.FixtureRequest) -> list[Reading]:
    """Two bits, then four."""
    return readings(networks.levels(), request.param)


def test_a_level_for_every_step(levels: list[Reading]) -> None:
    for reading, steps in zip(levels, (3, 15), strict=True):
        found = reading.every_level()
        assert reading.steps == steps and len(found) == steps + 1
        gaps = np.diff(found)
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-6)


def test_the_index_counts_thresholds(levels: list[Reading]) -> None:
    reading = levels[0]
    x = np.concatenate([reading.thresholds, reading.thresholds - 1e-3])[:, None, None]
    wanted = (x[..., None, :] >= reading.thresholds).sum(-2)
    rising = reading.index(x)
    np.testing.assert_array_equal(rising, wanted)
    falling = replace(reading, rising=np.zeros_like(reading.rising))
    np.testing.assert_array_equal(falling.index(x), reading.steps - wanted)
    np.testing.assert_array_equal(reading.read(x), reading.every_level()[wanted])


def test_many_thresholds_are_searched() -> None:
    reading = readings(networks.levels())[0]
    steps = FEW_THRESHOLDS + 5
    limits = np.sort(np.random.default_rng(0).normal(size=(steps, 8)), 0).astype(np.float32)
    many = replace(reading, thresholds=limits, rising=np.ones(8, bool))
    x = np.concatenate([limits, np.nextafter(limits, np.float32(-9))])[:, None, None]
    np.testing.assert_array_equal(many.index(x), (x[..., None, :] >= limits).sum(-2))


def test_sums_are_compared_as_integers() -> None:
    reading = readings(networks.two_layers())[1]
    assert reading.counts is not None and reading.counts.dtype == np.int64
    x = np.zeros((1, 1, 1, 8), np.float32)
    with pytest.raises(NotChecked, match="integer thresholds on a tensor that is no integer sum"):
        reading.read(x)
    low, high = (reading.read(x, np.full(x.shape, n, np.int64)) for n in (-(10**6), 10**6))
    assert (low == -high).all() and set(np.unique(low)) == {-1, 1}


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_a_pooled_reading_takes_the_largest_level(lowering: str) -> None:
    reading = readings(networks.pooled_relu(), lowering)[-1]
    assert reading.pool is not None
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 6)).astype(np.float32)
    alone = replace(reading, pool=None)
    if lowering == "bitserial":
        wanted = alone.read(x).reshape(1, 2, 2, 2, 2, 6).max((2, 4))
        np.testing.assert_array_equal(reading.read(x), wanted)
    seen = reading.seen(x)
    np.testing.assert_array_equal(seen, x.reshape(1, 2, 2, 2, 2, 6).max((2, 4)))
    np.testing.assert_array_equal(alone.seen(x), x)


def test_what_lies_before_it_is_something_else() -> None:
    graph = RelaxGraph(judged(networks.two_layers())[2])
    layer = graph.layers[0]
    del graph.value[layer.data]
    with pytest.raises(NotChecked, match="its input comes from somewhere else"):
        reading_of(graph, layer)


def test_bytes_of_narrow_groups_lie_in_one() -> None:
    """Bits of the same layer lie in its own; codes that are said to lie so are refused."""
    net = Net((1, 6, 5, 5))
    model = net.model(net.conv(net.step("input"), net.signs(12, 1, 3, 3), 1, group=6))
    (on_bits,), (on_bytes,) = readings(model), readings(model, "int8")
    assert [codes.lying_groups(one.layer) for one in (on_bits, on_bytes)] == [6, 1]
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(on_bytes.read(x), np.where(x >= 0, 1, -1))
    attrs = {**dict(on_bytes.encode.attrs.items()), "layout_groups": 6}
    lying = make("encode_int8", on_bytes.encode.args, **attrs)
    with pytest.raises(Disagrees, match="codes are laid out for other groups than its 1"):
        codes._refuse_disorder(replace(on_bytes, encode=lying))


def test_thresholds_that_do_not_rise() -> None:
    reading = readings(networks.levels())[0]
    for bad in (reading.thresholds[::-1], reading.thresholds * np.float32(np.nan)):
        with pytest.raises(Disagrees, match="thresholds that do not rise"):
            codes._refuse_disorder(replace(reading, thresholds=bad))
    codes._refuse_disorder(reading)
