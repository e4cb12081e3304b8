"""Claim 1: proportions, weights that are the same up to rounding, values that became one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from abc_tvm.checks.graphs.relax_graph import RelaxGraph, RelaxLayer
from abc_tvm.checks.opinion.codes import Disagrees
from abc_tvm.checks.opinion.weights import (
    coded_weight,
    proportion,
    same_weights,
    whole_weights,
)
from tests.abc_tvm.checks.opinion.networks import judged
from tests.relay_passes.harness import Net, two_layers

W = np.random.default_rng(0).normal(size=(5, 3, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("ratio", [1.0, 4.0, -0.5, 0.3])
def test_the_common_factor(ratio: float) -> None:
    scaled = W * np.float32(ratio)
    scaled[2] = 7  # one channel is another's
    assert proportion(scaled, W) == pytest.approx(ratio, rel=1e-6)
    if np.log2(abs(ratio)) % 1 == 0:
        assert proportion(scaled * np.float32(1 + 2e-7), W) == ratio


def test_a_factor_of_nothing() -> None:
    assert proportion(W, np.zeros_like(W)) == 1
    assert proportion(np.zeros_like(W), W) == 1
    assert proportion(np.full_like(W, np.inf), W) == 1


def test_rounding_is_of_the_own_channel() -> None:
    moved = W.copy()
    moved[0] *= 1e6
    wanted = moved.copy()
    moved[1, 0, 0, 0] += np.float32(1e-3)
    text = same_weights(moved, wanted, 1.0, True)
    assert text.startswith("weight 0 of output channel 1 is ")
    assert same_weights(wanted * np.float32(2), wanted, 2.0, True) == ""
    assert same_weights(np.nextafter(wanted, np.float32(np.inf)), wanted, 1.0, True) == ""


def test_values_that_became_one() -> None:
    far = np.float32([[1, 2, -1]])
    near = np.float32([[0.01, 0.01 + 2.0**-22, 1]])
    joined = np.float32([[0.01, 0.01, 1]])
    assert same_weights(joined, near, 1.0, False) == ""
    assert same_weights(joined, near, 1.0, True).startswith("weights 0.0099999")
    assert same_weights(far, far, 1.0, True) == ""


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_the_weights_of_a_layer(lowering: str) -> None:
    model = two_layers(alpha=0.3)
    layer = RelaxGraph(judged(model, lowering)[2]).layers[0]
    coded = coded_weight(layer)
    assert coded.weight.shape == (8, 3, 3, 4) and coded.weight.dtype == np.float32
    rebuilt = (coded.planes * coded.alpha[:, :, None]).sum(0).reshape(coded.weight.shape)
    np.testing.assert_allclose(rebuilt, coded.weight, rtol=1e-6)
    assert np.unique(np.abs(coded.weight)).size == 1


def test_planes_that_are_none() -> None:
    layer = RelaxGraph(judged(two_layers(alpha=0.3))[2]).layers[0]

    args = [layer.data, layer.call.args[2], layer.call.args[2]]
    call: Any = SimpleNamespace(attrs=layer.call.attrs, args=args)
    with pytest.raises(Disagrees, match="planes that are not ±1"):
        coded_weight(replace(layer, call=call))


@pytest.mark.parametrize(
    ("weight", "whole"),
    [
        ([[0.5, -1.5]], [[1, -3]]),
        ([[0.0, 0.0], [0.2, 0.2]], [[0, 0], [1, 1]]),
    ],
)
def test_float_weights_that_are_whole(weight: list[list[float]], whole: list[list[int]]) -> None:
    found = whole_weights(float_layer(np.float32(weight)))
    assert found is not None
    integers, scales = found
    assert integers[0].tolist() == whole
    np.testing.assert_allclose(integers[0] * scales.T, weight, rtol=1e-6)


def test_float_weights_that_are_not() -> None:
    assert whole_weights(float_layer(np.float32([[1, np.pi, np.e]]))) is None


def float_layer(weight: np.ndarray) -> RelaxLayer:
    """A convolution in float with these weights ``[O, I]``."""
    net = Net((1, weight.shape[1], 3, 3))
    model = net.model(net.conv("input", weight[:, :, None, None]))
    return RelaxGraph(judged(model, "float")[2]).layers[0]
