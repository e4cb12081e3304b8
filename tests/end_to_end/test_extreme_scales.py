"""Constants near the ends of float32: what onnxruntime computes finitely, so do we.

A pass that multiplies two constants moves a factor past the sums in between. Where the product, or
a sum of such products, is no float32 while the graph's own order of operators stays finite, the
constants stay apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tests.relay_passes.harness import Net, compiled, onnxruntime_output, passes_until

BIG, SMALL = 2.0**126, 2.0**-126
"""About 1e38 and 1e-38. Powers of two: what rounds, rounds because it leaves the range."""

PAIRS = {
    "overflow": (BIG, 8.0),
    "one undoes the other": (SMALL, BIG),
    "underflow": (SMALL, 2.0**-33),
    "denormal": (2.0**-133, 1.0),
    "far apart": (2.0**33, 2.0**-133),
    "nothing": (0.0, BIG),
    "the largest": (3 * BIG, 0.5),
}

Made = Callable[[Net, float, float], str]


def layer(net: Net, threshold: float = 0.0) -> str:
    return net.conv(net.step("input", threshold), net.signs(6, 4, 3, 3))


def times(net: Net, x: str, *factors: float) -> str:
    for factor in factors:
        x = net.op("Mul", x, net.constant(factor))
    return x


def scales_behind(net: Net, a: float, b: float) -> str:
    return times(net, layer(net), a, b)


def scaled_levels(net: Net, a: float, b: float) -> str:
    x = times(net, net.step("input"), a)
    return net.conv(x, net.signs(6, 4, 3, 3) * np.float32(b))


def sum_of_two_weights(net: Net, a: float, b: float) -> str:
    x = net.step("input")
    first, second = (net.conv(x, net.signs(6, 4, 3, 3)) for _ in range(2))
    return net.op("Add", times(net, first, a), times(net, second, b))


def sum_of_two_inputs(net: Net, a: float, b: float) -> str:
    weight = net.signs(6, 4, 3, 3)
    first, second = (net.conv(net.step("input", t), weight) for t in (0.0, 0.5))
    return net.op("Add", times(net, first, a), times(net, second, b))


def scaled_twice(net: Net, a: float, b: float) -> str:
    weight = net.signs(6, 4, 3, 3)
    first, second = (net.conv(net.step("input", t), weight) for t in (0.0, 0.5))
    return net.op("Add", times(net, first, a, b), times(net, second, 0.5))


def divided(net: Net, a: float, b: float) -> str:
    weight = net.signs(6, 4, 3, 3)
    first, second = (net.conv(net.step("input", t), weight) for t in (0.0, 0.5))
    first = net.op("Div", times(net, first, a), net.constant(b))
    return net.op("Add", first, times(net, second, 0.5))


def biased(net: Net, a: float, b: float) -> str:
    weight = net.signs(6, 4, 3, 3)
    first, second = (net.conv(net.step("input", t), weight) for t in (0.0, 0.5))
    first = net.op("Mul", net.op("Add", first, net.constant(a)), net.constant(b))
    return net.op("Add", first, times(net, second, 0.5))


def read_by_a_step(made: Made) -> Made:
    def wrapped(net: Net, a: float, b: float) -> str:
        return net.conv(net.op("Sign", made(net, a, b)), net.signs(4, 6, 2, 2))

    wrapped.__name__ = f"{made.__name__}_read_by_a_step"
    return wrapped


def normalised(net: Net, a: float, b: float) -> str:
    return net.conv(net.op("Sign", net.bn(layer(net), [a] * 6, b, 1.0)), net.signs(4, 6, 2, 2))


def threshold(net: Net, a: float, b: float) -> str:
    x = net.op("Sub", times(net, layer(net), a), net.constant(b))
    return net.conv(net.op("Sign", x), net.signs(4, 6, 2, 2))


NETWORKS: list[Made] = [
    scaled_levels,
    sum_of_two_weights,
    sum_of_two_inputs,
    scaled_twice,
    divided,
    biased,
    read_by_a_step(scales_behind),
    read_by_a_step(sum_of_two_inputs),
    read_by_a_step(scaled_twice),
    normalised,
    threshold,
]


def built(made: Made, a: float, b: float) -> onnx.ModelProto:
    net = Net((1, 4, 8, 8))
    return net.model(made(net, float(np.float32(a)), float(np.float32(b))))


@pytest.mark.parametrize("made", NETWORKS, ids=lambda made: made.__name__)
@pytest.mark.parametrize("pair", PAIRS)
def test_finite_where_onnxruntime_is(made: Made, pair: str, rng: np.random.Generator) -> None:
    a, b = PAIRS[pair]
    if made is divided and pair == "nothing":
        a, b = b, 8.0
    if made is scaled_levels and pair == "the largest":
        pytest.skip("sums of 1e38 overflow in some orders and not in others")
    model = built(made, a, b)
    arrays = {"input": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted = onnxruntime_output(model, arrays["input"])
    found = compiled(model)[0](arrays["input"])
    finite = np.isfinite(wanted)
    assert np.isfinite(found[finite]).all()
    there, here = wanted[finite].astype(np.float64), found[finite].astype(np.float64)
    largest = np.abs(there).max(initial=0)
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-6 * largest + 2.0**-149)
    np.testing.assert_array_equal(found[~finite], wanted[~finite])


def overflows_inside(net: Net) -> str:
    """Inputs of 1e38 whose sums onnxruntime makes NaN, which a comparison makes -1 again."""
    weights = [np.full((6, 4, 3, 3), sign, np.float32) for sign in (1, -1)]
    total = ""
    for threshold, beta in ((0.5, 0.77), (-0.5, 0.76)):
        x = net.op("Cast", net.op("GreaterOrEqual", "input", net.constant(threshold)), to=1)
        x = net.op("Sub", net.op("Mul", x, net.constant(1e38)), net.constant(1.0))
        for weight, alpha in zip(weights, (0.048, 0.0477), strict=True):
            y = times(net, net.conv(x, weight), alpha, beta)
            total = net.op("Add", total, y) if total else y
    x = net.op("Cast", net.op("GreaterOrEqual", total, net.constant(0.5)), to=1)
    return net.conv(net.op("Sub", x, net.constant(0.5)), net.signs(4, 6, 2, 2))


def test_sums_that_overflow_in_the_graph_stay_its_own(rng: np.random.Generator) -> None:
    net = Net((1, 4, 8, 8))
    model = net.model(overflows_inside(net))
    x = (5 + np.abs(rng.standard_normal((1, 4, 8, 8)))).astype(np.float32)
    wanted = onnxruntime_output(model, x)
    assert np.isfinite(wanted).all()
    np.testing.assert_array_equal(compiled(model)[0](x), wanted)


def test_scales_of_the_usual_size_still_fold() -> None:
    _, context = passes_until(built(sum_of_two_inputs, 2.0**-20, 2.0**-21), "fold_thresholds")
    assert [(row.M, row.N) for row in context.layers.values()] == [(1, 2)]


def uneven_levels(net: Net, a: float, b: float) -> str:
    """Levels ``a`` and ``-b``."""
    above = net.op("GreaterOrEqual", "input", net.constant(0.0))
    x = net.op("Where", above, net.constant(a), net.constant(-b))
    return net.conv(x, net.signs(6, 4, 3, 3))


def uneven_weights(net: Net, a: float, b: float) -> str:
    weight = net.rng.choice(np.float32([a, b, -b]), (6, 4, 3, 3))
    return net.conv(net.step("input"), weight)


@pytest.mark.parametrize(
    ("made", "a", "b", "says"),
    [
        (uneven_weights, BIG, 0.37 * BIG, "hold a number of size"),
        (uneven_levels, 1.0, SMALL, "too large or small to be levels"),
        (uneven_levels, 3 * BIG, 0.0, ""),
        (uneven_levels, BIG, 1.0, "are together larger than"),
        (scaled_levels, 2.0**80, 2.0**80, "are together larger than"),
        (scaled_levels, BIG, 1.0, ""),
        (scaled_levels, 1.0, BIG, ""),
    ],
)
def test_says_why_a_layer_stays_in_float(made: Made, a: float, b: float, says: str) -> None:
    _, context = passes_until(built(made, a, b), "choose_lowering")
    (row,) = context.layers.values()
    assert row.lowering == ("float" if says else "bitserial")
    assert says in row.reason
