"""Convolutions with few weight values become ``abc.bconv2d``, others keep their reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.passes.recognise_weights import RecogniseWeights
from abc_tvm.relay_passes.rewrite import constant
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
    two_layers,
)


def one_layer(weight: np.ndarray, **geometry: object) -> onnx.ModelProto:
    net = Net((1, 4, 5, 5))
    return net.model(net.conv(net.step("input"), weight, **geometry))  # type: ignore[arg-type]


def ternary() -> np.ndarray:
    return np.random.default_rng(0).choice(np.float32([-1, 0, 1]), (6, 4, 3, 3))


def test_fires_once_a_layer() -> None:
    mod, context = passes_until(two_layers(), "recognise_weights")
    assert len(calls(mod, "abc.bconv2d")) == 2 and not calls(mod, "nn.conv2d")
    assert [row.M for row in context.layers.values()] == [1, 1]


def test_the_row_of_a_layer() -> None:
    _, context = passes_until(one_layer(ternary(), pad=1), "recognise_weights")
    (row,) = context.layers.values()
    assert (row.name, row.op, row.shape) == ("conv_0", "Conv", [6, 3, 3, 4])
    assert row.macs == 5 * 5 * 6 * 3 * 3 * 4
    assert (row.M, row.N, row.lowering) == (2, None, "float")
    assert row.float_weight_bytes == 4 * ternary().size
    assert row.row()["name"] == "conv_0"


def test_a_dense_layer_is_called_so() -> None:
    net = Net((3, 8))
    model = net.model(net.op("MatMul", net.step("input"), net.constant(net.signs(8, 5))))
    _, context = passes_until(model, "recognise_weights")
    assert [(row.name, row.op) for row in context.layers.values()] == [("dense_0", "Dense")]


@pytest.mark.parametrize("size", [1, 7])
def test_a_convolution_as_large_as_its_image_is_none(size: int) -> None:
    net = Net((1, 4, size, size))
    model = net.model(net.conv(net.step("input"), net.signs(6, 4, size, size)))
    _, context = passes_until(model, "recognise_weights")
    assert [row.op for row in context.layers.values()] == ["Conv"]


def test_a_dense_layer_on_a_flattened_image_is_one() -> None:
    net = Net((2, 4, 3, 3))
    flat = net.op("Flatten", net.step("input"))
    model = net.model(net.op("MatMul", flat, net.constant(net.signs(36, 5))))
    _, context = passes_until(model, "recognise_weights")
    assert [row.op for row in context.layers.values()] == ["Dense"]


@pytest.mark.parametrize("groups", [1, 2])
def test_planes_and_scales_are_the_weights(groups: int) -> None:
    weight = ternary()[:, : 4 // groups] * np.float32(0.3)
    mod, _ = passes_until(one_layer(weight, group=groups), "recognise_weights")
    (call,) = calls(mod, "abc.bconv2d")
    planes, alpha, kept = (constant(a) for a in call.args[1:])
    assert planes is not None and alpha is not None and kept is not None
    ohwi = weight.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(kept, ohwi)
    np.testing.assert_allclose(np.einsum("mo...,mo->o...", planes, alpha), ohwi, atol=1e-6)
    assert int(call.attrs["groups"]) == groups


def float_weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)


def test_refuses() -> None:
    mod, context = passes_until(one_layer(float_weights()), "recognise_weights")
    (row,) = context.layers.values()
    assert "more than 16 values" in row.reason and row.M is None and row.lowering == "float"
    assert len(calls(mod, "nn.conv2d")) == 1 and not calls(mod, "abc.bconv2d")


def test_refuses_weights_that_are_no_constant() -> None:
    net = Net((4, 4, 3, 3))
    mod, context = passes_until(net.model(net.op("Conv", "input", "input")), "recognise_weights")
    assert "no constant" in next(iter(context.layers.values())).reason
    assert not calls(mod, "abc.bconv2d")


def test_golden() -> None:
    mod, _ = passes_until(one_layer(ternary(), pad=1, strides=[2, 2]), "recognise_weights")
    check_golden("recognise_weights", mod)


@pytest.mark.parametrize("weight", [ternary(), ternary() * np.float32(0.25), float_weights()])
def test_numbers(weight: np.ndarray) -> None:
    """Float weights stay float; only there may sums round in another order."""
    model = one_layer(weight, pad=1)
    if len(np.unique(weight)) == 3:
        assert_same_bits(model)
        return
    from tests.relay_passes.harness import compiled, onnxruntime_output

    x = np.random.default_rng(0).normal(size=(1, 4, 5, 5)).astype(np.float32)
    run, _ = compiled(model)
    np.testing.assert_allclose(run(x), onnxruntime_output(model, x), rtol=1e-5, atol=1e-5)


def test_again_changes_nothing() -> None:
    once, context = passes_until(two_layers(), "recognise_weights")
    assert_equal_ir(RecogniseWeights(context)(once), once)
