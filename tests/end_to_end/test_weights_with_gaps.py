"""Weights that are multiples of one step, with gaps between them, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.relay_passes.harness import Net

ABOUT_ZERO = ([-3, -1, 0, 1, 3], 3)
ONE_SIDED = ([-5, -3, 0, 2, 7], 4)
MOVED = ([-17, -5, 13, 25, 43, 55], 5)
"""The last of its scales belongs to a plane of ones alone."""

Values = tuple[list[int], int]
"""Multiples of the step, and the planes that they take."""


def network(
    values: list[int], channels: int, step: float, batch: int, stride: int, groups: int
) -> onnx.ModelProto:
    """Such weights behind a step, padded with zeros, and a step of both senses behind them."""
    net = Net((batch, channels, 5, 6), seed=channels)
    weight = net.rng.choice(np.float32(values), (channels, channels // groups, 3, 3))
    weight.flat[: len(values)] = values
    x = net.conv(
        net.step("input", 0.25),
        np.float32(step) * weight,
        1,
        strides=[stride, stride],
        group=groups,
    )
    x = net.bn(x, [0.5 * (-1) ** c for c in range(channels)], 0.0625, 0.5, 1.0 - 1e-5)
    return net.model(net.conv(net.step(x), net.signs(6, channels, 3, 3), 1))


CASES = [
    (ABOUT_ZERO, 1, 1, 1, 1),
    (ABOUT_ZERO, 32, 2, 1, 1),
    (ABOUT_ZERO, 66, 1, 2, 2),
    (ONE_SIDED, 31, 2, 1, 1),
    (ONE_SIDED, 33, 1, 2, 1),
    (ONE_SIDED, 65, 1, 1, 1),
    (MOVED, 33, 2, 1, 1),
]


@pytest.mark.parametrize(("values", "channels", "batch", "stride", "groups"), CASES)
def test_as_few_planes_as_their_range(
    values: Values, channels: int, batch: int, stride: int, groups: int
) -> None:
    """Half steps, so that every sum is exact: equal bits, by as many planes as expected."""
    model = network(values[0], channels, 0.5, batch, stride, groups)
    compiled = Compiled(model)
    first, second = compiled.layers
    assert (first.M, first.lowering, second.lowering) == (values[1], "bitserial", "bitserial")
    opinion = compiled.context.opinion
    assert opinion is not None and len(opinion.checked) == 2, opinion
    x = np.random.default_rng(7).integers(-4, 5, (batch, channels, 5, 6)).astype(np.float32) / 8
    assert_equal(compiled.run({"input": x}), reference(model, {"input": x}), True, values)


@pytest.mark.parametrize("values", [ABOUT_ZERO, ONE_SIDED, MOVED])
def test_a_step_that_float32_rounds(values: Values) -> None:
    """Each weight is a rounded multiple: the planes are those of the exact step."""
    net = Net((2, 33, 5, 6))
    weight = np.float32(0.0123) * net.rng.choice(np.float32(values[0]), (8, 33, 3, 3))
    model = net.model(net.conv(net.step("input", 0.25), weight, 1))
    compiled = Compiled(model)
    assert [layer.M for layer in compiled.layers] == [values[1]]
    x = np.random.default_rng(7).standard_normal((2, 33, 5, 6)).astype(np.float32)
    assert_equal(compiled.run({"input": x}), reference(model, {"input": x}), False, values)
