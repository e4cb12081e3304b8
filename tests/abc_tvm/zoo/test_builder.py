"""The value that the builder computes is the value of the graph that it exports.

Real layers sum in another order in NumPy than in onnxruntime, which is worth about 1e-6 of the
output's spread. Steps amplify that: a value within a rounding error of its threshold may fall on
the other side, and then its image, which is one row of the output, differs visibly. Hence the rule
here: nearly all rows agree to 1e-4, and the rare row with a flipped bit stays within the output's
own spread.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest

from abc_tvm.zoo import bireal, float_resnet, lenet, resnet
from abc_tvm.zoo.builder import GraphBuilder, Tensor

ROUNDING = 1e-4
SAMPLES = 16
RESNET8 = resnet.PLANS["resnet8"]


def row_errors(add: Callable[[GraphBuilder], Tensor], channels: int, size: int) -> np.ndarray:
    """Largest error of each row, in standard deviations of the output."""
    g = GraphBuilder((SAMPLES, channels, size, size), seed=11)
    output = add(g)
    model = g.model(output, name="network")
    session = ort.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"input": g.input.value})
    assert output.value.dtype == expected.dtype == np.float32
    assert output.value.shape == expected.shape
    return np.abs(output.value - expected).max(axis=1) / expected.std()


@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 1), (1, 3), (4, 5)])
def test_resnet8_agrees_with_onnxruntime(M: int, N: int) -> None:
    errors = row_errors(
        lambda g: resnet.abc_resnet(g, RESNET8, M=M, N=N, width=1.0, classes=10), 3, 32
    )
    assert (errors > ROUNDING).sum() <= 2
    assert errors.max() < 1


@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 1), (1, 3), (4, 5)])
def test_lenet_agrees_with_onnxruntime(M: int, N: int) -> None:
    errors = row_errors(lambda g: lenet.abc_lenet(g, M=M, N=N, width=1.0, classes=10), 1, 28)
    assert (errors > ROUNDING).sum() <= 2
    assert errors.max() < 1


def test_bireal_agrees_with_onnxruntime() -> None:
    errors = row_errors(lambda g: bireal.bireal18(g, width=0.25, classes=10), 3, 32)
    assert (errors > ROUNDING).sum() <= 2
    assert errors.max() < 1


def test_float_networks_agree_to_rounding() -> None:
    def twin(g: GraphBuilder) -> Tensor:
        return float_resnet.float_resnet(g, RESNET8, width=1.0, classes=10)

    assert row_errors(twin, 3, 32).max() < ROUNDING
    bottleneck = resnet.ResidualPlan((1, 1), channels=8, bottleneck=True)
    assert (
        row_errors(
            lambda g: float_resnet.float_resnet(g, bottleneck, width=1.0, classes=10), 3, 32
        ).max()
        < ROUNDING
    )
    assert row_errors(lambda g: lenet.float_lenet(g, width=1.0, classes=10), 1, 28).max() < ROUNDING


def test_scalars_are_shared() -> None:
    g = GraphBuilder((1, 1, 2, 2))
    assert g.scalar(0.5) is g.scalar(0.5)
    output = g.op("Add", [g.input, g.scalar(0.5)], "output")
    assert len(g.model(output, name="one").graph.initializer) == 1
