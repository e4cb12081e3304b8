"""The claims of one layer: each is refuted where one fact of the compiled module is changed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import FLOAT
from abc_tvm.checks.opinion.anchors import make_anchors
from abc_tvm.checks.opinion.codes import Disagrees
from abc_tvm.checks.opinion.layer_claims import Claims, CodedLayer
from abc_tvm.checks.opinion.roots import Roots
from tests.abc_tvm.checks.opinion import networks
from tests.abc_tvm.checks.opinion.test_anchors import both


@pytest.fixture
def claims() -> Claims:
    """Two bits before a grouped, padded convolution."""
    graph, relax, layers = both(networks.levels())
    roots = Roots(graph, relax, make_anchors(graph, relax, layers, {}))
    return Claims(graph, relax, layers, {}, [], roots, 1, None, np.random.default_rng(0))


@pytest.fixture
def item(claims: Claims) -> CodedLayer:
    first = next(layer for layer in claims.relax.layers if layer.kind != FLOAT)
    made = CodedLayer.of(claims.relax, first)
    claims.roots.compute([made.reading.root], [claims.layers[first.name].data], claims.rng, True)
    return made


def changed(item: CodedLayer, **attrs: Any) -> CodedLayer:
    """The layer with other attributes."""
    call = item.layer.call
    known = {key: call.attrs[key] for key in call.attrs.keys()} | attrs  # noqa: SIM118
    made: Any = SimpleNamespace(attrs=known, args=call.args)
    layer = replace(item.layer, call=made)
    return replace(item, layer=layer, reading=replace(item.reading, layer=layer))


def test_a_right_layer_holds(claims: Claims, item: CodedLayer) -> None:
    claims.check(item)
    claims.check(changed(item))


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"strides": [2, 1]}, r"strides is \[2, 1\] as compiled and \[1, 1\] in the graph"),
        ({"padding": [1, 1, 0, 1]}, r"padding is \[1, 1, 0, 1\] as compiled and \[1, 1, 1, 1\]"),
        ({"dilation": [1, 2]}, "dilation is"),
        ({"groups": 1}, "groups is 1 as compiled and 2 in the graph"),
        ({"base": 1.0}, "the graph feeds it"),
    ],
)
def test_one_fact_is_wrong(
    claims: Claims, item: CodedLayer, attrs: dict[str, Any], words: str
) -> None:
    with pytest.raises(Disagrees, match=words):
        claims.check(changed(item, **attrs))


def test_a_weight_is_wrong(claims: Claims, item: CodedLayer) -> None:
    weight = item.coded.weight.copy()
    weight[1, 0, 0, 0] *= -1
    with pytest.raises(Disagrees, match="weight 0 of output channel 1 is"):
        claims.check(replace(item, coded=replace(item.coded, weight=weight)))
    with pytest.raises(Disagrees, match="its weights have another shape"):
        claims.check(replace(item, coded=replace(item.coded, weight=weight[:1])))


def test_a_weight_may_be_wrong_where_a_layer_is_lost(claims: Claims, item: CodedLayer) -> None:
    lost = replace(claims, lost=[claims.layers[item.layer.name]])
    weight = -np.abs(item.coded.weight)
    with pytest.raises(NotChecked, match="may have taken in layers"):
        lost.check(replace(item, coded=replace(item.coded, weight=weight)))


def test_a_threshold_is_wrong(claims: Claims, item: CodedLayer) -> None:
    limits = item.reading.thresholds + np.float32(1e-3)
    with pytest.raises(Disagrees, match="in channel 0 the graph feeds it"):
        claims.check(replace(item, reading=replace(item.reading, thresholds=limits)))


def test_a_layer_that_the_graph_does_not_name(claims: Claims, item: CodedLayer) -> None:
    other = replace(item, layer=replace(item.layer, name="another"))
    assert claims.terms(other.layer) == []
    with pytest.raises(NotChecked, match="no layer of the graph has its name"):
        claims.check(other)


def test_what_it_is_multiplied_with(claims: Claims, item: CodedLayer) -> None:
    ((weight, (factor,)),) = claims.terms(item.layer)
    owner = claims.layers[item.layer.name]
    assert weight is owner.weight
    assert (factor.scale, factor.tensor, factor.channels) == (1.0, owner.data, None)
