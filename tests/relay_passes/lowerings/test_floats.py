"""The convolution as the graph has it, in lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.lowerings.candidate import Candidate
from abc_tvm.relay_passes.lowerings.floats import FLOATS
from abc_tvm.relay_passes.ops import conv_window
from abc_tvm.relay_passes.rewrite import array_of, op_name
from abc_tvm.targets import load
from tests.relay_passes.kernel_runs import Eager, convolved, run
from tests.relay_passes.relax_graph import binary, convolution, image, signs, step, tensor

GRID: list[tuple[int, int, int, dict[str, Any]]] = [
    (1, 1, 1, {}),
    (31, 32, 1, {"padding": (1, 0, 2, 1)}),
    (5, 33, 1, {"strides": (2, 1), "padding": (1, 1, 1, 1)}),
    (3, 31, 1, {"dilation": (2, 1)}),
    (6, 4, 2, {}),
    (4, 66, 2, {"padding": (0, 1, 0, 1)}),
]


@pytest.mark.parametrize(("channels", "outs", "groups", "options"), GRID)
def test_sums_of_products(
    channels: int, outs: int, groups: int, options: dict[str, Any], rng: np.random.Generator
) -> None:
    """Small whole numbers: every sum is exact."""
    x = image("x", channels)
    data = rng.integers(-8, 9, (1, 5, 5, channels)).astype(np.float32)
    weight = rng.integers(-8, 9, (outs, 3, 2, channels // groups)).astype(np.float32)
    call = convolution(x, weight, groups=groups, **options)
    normal = relax.BlockBuilder().normalize(call)
    (found,) = run([x], [data], lambda bind: bind(call, "conv"))
    assert FLOATS.anchor.fits(normal) and FLOATS.anchor.groups(normal) == groups
    np.testing.assert_array_equal(found, convolved(data, weight, conv_window(normal)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": (1, 0, 2, 1)},
        {"strides": (2, 1)},
        {"dilation": (1, 2), "padding": (1, 1, 1, 1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [2, 31, 32, 33, 64, 65])
def test_depthwise(channels: int, options: dict[str, Any], rng: np.random.Generator) -> None:
    """A kernel of its own, whose channels lie in lanes: nothing is summed over."""
    x = image("x", channels)
    data = rng.integers(-8, 9, (1, 5, 5, channels)).astype(np.float32)
    weight = rng.integers(-8, 9, (channels, 3, 2, 1)).astype(np.float32)
    call = convolution(x, weight, groups=channels, **options)
    normal = relax.BlockBuilder().normalize(call)
    (found,) = run([x], [data], lambda bind: bind(call, "conv"))
    assert FLOATS.anchor.groups(normal) is None
    np.testing.assert_array_equal(found, convolved(data, weight, conv_window(normal)))


def test_a_value_that_several_read(rng: np.random.Generator) -> None:
    x = image("x", 3)
    data = rng.integers(-8, 9, (1, 5, 5, 3)).astype(np.float32)
    weight = rng.integers(-8, 9, (5, 1, 1, 3)).astype(np.float32)

    def body(bind: Any) -> relax.Expr:
        conv = bind(convolution(x, weight), "conv")
        return bind(relax.op.multiply(conv, bind(relax.op.nn.relu(conv), "relu")), "product")

    sums = np.einsum("bhwi,oi->bhwo", data, weight[:, 0, 0])
    np.testing.assert_array_equal(run([x], [data], body)[0], sums * np.maximum(sums, 0))


def test_what_cannot_begin_a_kernel() -> None:
    def fits(call: relax.Call) -> bool:
        return FLOATS.anchor.fits(relax.BlockBuilder().normalize(call))

    weight = np.ones((4, 1, 1, 4), np.float32)
    assert fits(convolution(image("x", 4), weight))
    assert not fits(convolution(tensor("x", 1, 4, 5, 5), weight.transpose(0, 3, 1, 2), "NCHW"))
    wide = tensor("x", 1, 5, 5, 4, dtype="float64")
    assert not fits(convolution(wide, weight.astype(np.float64)))
    unknown = relax.op.nn.conv2d(
        image("x", 4), tensor("w", 4, 1, 1, 4), data_layout="NHWC", kernel_layout="OHWI"
    )
    assert not fits(unknown), "weights that are no constant"


def test_it_costs_one_and_reads_levels() -> None:
    x = image("x", 4)
    planes = signs(2, 6, 3, 3, 4)
    call = binary(x, planes, np.full((2, 6), 0.5), strides=[2, 2])
    steps = step(x, 4)
    layer = Candidate(call, steps_of(steps), load("zen4"))
    offer = FLOATS.offer(layer, rival=0.1)
    assert (offer.cost, offer.dearer, offer.refused, offer.moved) == (1.0, "", "", None)
    outcome = FLOATS.outcome(layer, offer)
    assert (outcome.reason, outcome.weight_bytes, outcome.error_bound) == ("", 6 * 9 * 4 * 4, None)
    emitter = Eager({})
    anchor = FLOATS.encode(layer, LayerReading(steps, steps), emitter, 0.0)
    assert op_name(anchor) == "nn.conv2d" and not emitter.emitted
    np.testing.assert_array_equal(array_of(anchor.args[1]), array_of(call.args[3]))
    assert FLOATS.codec(anchor, steps, array_of(call.args[3])) is None and FLOATS.pairs(anchor) == 1
