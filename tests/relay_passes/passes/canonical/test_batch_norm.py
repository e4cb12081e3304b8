"""Batch normalisation as Multiply and Add, in float32 and in onnxruntime's order."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.rewrite import array_of
from tests.relay_passes.harness import Net, calls, compiled, onnxruntime_output, passes_until

GAMMA, BETA = np.float32([1, -2, 0, 0.3]), np.float32([0.25, 0, -1, 7])
MEAN, VARIANCE = np.float32([0.1, -3, 2, 0]), np.float32([0.7, 4, 1e-3, 1])


def normalised(shape: tuple[int, ...], convolved: bool = False) -> onnx.ModelProto:
    net = Net(shape)
    x = net.conv("input", net.signs(4, 4, 1, 1)) if convolved else "input"
    return net.model(net.bn(x, GAMMA, BETA, MEAN, VARIANCE))


@pytest.mark.parametrize(
    ("shape", "convolved", "wanted"),
    [
        ((2, 4, 3, 3), True, (1, 1, 1, 4)),
        ((2, 4, 3, 3), False, (1, 4, 1, 1)),
        ((2, 4), False, (1, 1, 1, 4)),
        ((2, 4, 3), False, (1, 4, 1)),
    ],
)
def test_fires(shape: tuple[int, ...], convolved: bool, wanted: tuple[int, ...]) -> None:
    """Case 2: the constants stand where the channels are."""
    mod, _ = passes_until(normalised(shape, convolved), "canonicalise")
    assert not calls(mod, "nn.batch_norm")
    ((multiply,), (add,)) = (calls(mod, name) for name in ("multiply", "add"))
    scale, shift = array_of(multiply.args[1]), array_of(add.args[1])
    assert scale.shape == shift.shape == wanted
    expected = (1 / np.sqrt(VARIANCE + np.float32(1e-5))).astype(np.float32) * GAMMA
    np.testing.assert_array_equal(scale.ravel(), expected)
    np.testing.assert_array_equal(shift.ravel(), BETA - MEAN * expected)


def test_refuses_statistics_that_are_computed() -> None:
    net = Net((2, 4, 3, 3))
    mean = net.op("ReduceMean", "input", axes=[0, 2, 3], keepdims=0)
    rows = [net.constant(v) for v in (GAMMA, BETA)]
    result = net.op("BatchNormalization", "input", *rows, mean, net.constant(VARIANCE))
    mod, _ = passes_until(net.model(result), "canonicalise")
    assert len(calls(mod, "nn.batch_norm")) == 1


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (2, 4), (2, 4, 3)])
def test_numbers(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model, x = normalised(shape), rng.normal(size=shape).astype(np.float32)
    run, _ = compiled(model, "float")
    np.testing.assert_allclose(run(x), onnxruntime_output(model, x), 1e-6, 1e-6)
