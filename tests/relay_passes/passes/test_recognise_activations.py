"""Chains become ``abc.step`` however they are spelled; refusals leave the float convolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.passes.recognise_activations import RecogniseActivations
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    compiled,
    onnxruntime_output,
    passes_until,
    two_layers,
)

SHAPE = (1, 4, 5, 5)
Chain = Callable[[Net, str], str]


def layer(chain: Chain, shape: tuple[int, ...] = SHAPE) -> onnx.ModelProto:
    net = Net(shape)
    return net.model(net.conv(chain(net, "input"), net.signs(6, 4, 3, 3)))


def bits(net: Net, above: str) -> str:
    ones = net.op("Cast", above, to=onnx.TensorProto.FLOAT)
    return net.op("Sub", net.op("Mul", ones, net.constant(2.0)), net.constant(1.0))


def clip(net: Net, x: str) -> str:
    return net.op("Clip", x, net.constant(0.0), net.constant(1.0))


def two_bits(net: Net, x: str) -> str:
    scaled = net.op("Round", net.op("Mul", clip(net, x), net.constant(3.0)))
    return net.op("Mul", scaled, net.constant(0.5))


def prelu(net: Net, x: str) -> str:
    slope = net.channels([0.25, 0.5, 0, 2])
    return net.step(net.op("Sub", net.op("PRelu", x, slope), net.constant(-0.25)))


SAME: dict[str, Chain] = {
    "where": lambda net, x: net.step(x, 0.25),
    "cast": lambda net, x: bits(net, net.op("GreaterOrEqual", x, net.constant(0.25))),
    "not_less": lambda net, x: bits(net, net.op("Not", net.op("Less", x, net.constant(0.25)))),
    "double_sign": lambda net, x: net.op(
        "Sign",
        net.op("Add", net.op("Sign", net.op("Sub", x, net.constant(0.25))), net.constant(0.5)),
    ),
    "negated": lambda net, x: net.op(
        "Neg",
        net.op(
            "Where",
            net.op("LessOrEqual", net.constant(-0.25), net.op("Neg", x)),
            net.op(
                "Where",
                net.op("Less", x, net.constant(0.25)),
                net.constant(1.0),
                net.constant(-1.0),
            ),
            net.constant(-1.0),
        ),
    ),
}
OTHERS: dict[str, Chain] = {
    "two_bits": two_bits,
    "prelu": prelu,
    "bn": lambda net, x: net.step(net.bn(x, [1, -2, 0, 0.5], [0.25, 0, 1, -1], 0.5, 4.0)),
    "sum": lambda net, x: net.op("Add", net.step(x, 0.25), net.step(x, -0.5)),
    "clip": lambda net, x: bits(
        net,
        net.op(
            "GreaterOrEqual",
            clip(net, net.op("Add", x, net.constant(0.25))),
            net.constant(0.5),
        ),
    ),
    "sign": lambda net, x: net.op("Sign", x),
}


@pytest.mark.parametrize("name", [*SAME, *OTHERS])
def test_fires(name: str) -> None:
    mod, context = passes_until(layer((SAME | OTHERS)[name]), "recognise_activations")
    assert len(calls(mod, "abc.step")) == 1 and not calls(mod, "nn.conv2d")
    (row,) = context.layers.values()
    wanted = {"two_bits": 3, "sum": 2}.get(name, 1)
    assert wanted == row.N


@pytest.mark.parametrize("name", SAME)
def test_all_spellings_give_one_form(name: str) -> None:
    wanted, _ = passes_until(layer(SAME["where"]), "recognise_activations")
    assert_equal_ir(passes_until(layer(SAME[name]), "recognise_activations")[0], wanted)


def test_a_tie_on_the_networks_input_is_kept_and_not_counted() -> None:
    mod, context = passes_until(layer(OTHERS["sign"]), "recognise_activations")
    (step,) = calls(mod, "abc.step")
    assert list(steps_of(step).levels) == [-1, 0, 1]
    assert [row.N for row in context.layers.values()] == [1]


def test_two_layers_share_a_step() -> None:
    net = Net(SHAPE)
    x = net.step("input")
    first, second = net.conv(x, net.signs(6, 4, 1, 1)), net.conv(x, net.signs(6, 4, 3, 3), 1)
    model = net.model(net.op("Add", first, second))
    assert len(calls(passes_until(model, "recognise_activations")[0], "abc.step")) == 1


def two_inputs(net: Net, x: str) -> str:
    other = net.op("AveragePool", x, kernel_shape=[1, 1])
    return net.op("Add", net.step(x), other)


def per_pixel(net: Net, x: str) -> str:
    return net.op("Mul", net.op("Round", x), net.constant(np.arange(25).reshape(5, 5) / 4))


def per_image(net: Net, x: str) -> str:
    factors = net.constant(np.arange(2).reshape(2, 1, 1, 1) / 4)
    return net.op("Mul", net.op("Round", x), factors)


def not_both(net: Net, x: str) -> str:
    """-1, high, -1: one step up and one down, to a level of the channel's own."""
    bump = net.op("Add", net.step(x, -1.0), net.op("Neg", net.step(x, 1.0)))
    return net.op("Mul", bump, net.channels([1, 2, 3, 5]))


def bump_before_pool(net: Net, x: str) -> str:
    bump = net.op("Add", net.step(x, -1.0), net.op("Neg", net.step(x, 1.0)))
    return net.op("MaxPool", bump, kernel_shape=[2, 2], strides=[1, 1])


def other_tensor(net: Net, x: str) -> str:
    return net.op("AveragePool", x, kernel_shape=[1, 1])


def xnor(net: Net, x: str) -> str:
    return net.op("Mul", net.step(x), net.step(other_tensor(net, x), 0.5))


def either(net: Net, x: str) -> str:
    return net.op("Max", net.step(x), net.step(other_tensor(net, x), 0.5))


def averaged(net: Net, x: str) -> str:
    return net.op("AveragePool", net.step(x), kernel_shape=[2, 2])


def image_average(net: Net, x: str) -> str:
    return net.op("GlobalAveragePool", net.step(x))


def places(net: Net, x: str) -> str:
    return net.op("Mul", net.step(x), net.constant(np.arange(25).reshape(5, 5) % 3 / 4))


FEW: dict[str, tuple[Chain, list[float]]] = {
    "xnor": (xnor, [-1, 1]),
    "or": (either, [-1, 1]),
    "average": (averaged, [-1, -0.5, 0, 0.5, 1]),
    "whole average": (image_average, [-1 + k / 12.5 for k in range(26)]),
    "places": (places, [-1, -0.5, 0, 0.5, 1]),
    "by channel": (not_both, [0, 1, 2, 3, 4, 5, 6, 10]),
}
"""Tensors that take few values though no other tensor decides which, and their levels, scaled."""


@pytest.mark.parametrize("name", FEW)
def test_a_tensor_of_few_values_is_its_own_step(name: str) -> None:
    chain, levels = FEW[name]
    size = 5 if name == "whole average" else 3
    net = Net(SHAPE)
    inner = chain(net, "input")
    kernel = 1 if name == "whole average" else size
    model = net.model(net.conv(inner, net.signs(6, 4, kernel, kernel)))
    mod, _ = passes_until(model, "recognise_activations")
    assert len(calls(mod, "abc.bconv2d")) == 1
    (step,) = (s for s in calls(mod, "abc.step"))
    found = steps_of(step)
    between = (found.levels[1:] + found.levels[:-1]) / 2
    assert len(found.levels) == len(levels) or name == "by channel"
    if name != "by channel":
        wanted = np.float32(levels)
        np.testing.assert_allclose(found.levels / np.abs(found.levels).max(),
                                   wanted / np.abs(wanted).max(), atol=2.0**-22)  # fmt: skip
    assert np.all(found.thresholds[1:] > found.thresholds[:-1]) and len(between)
    if name == "whole average":
        x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
        wanted = onnxruntime_output(model, x)
        np.testing.assert_allclose(compiled(model)[0](x), wanted, atol=1e-6)
        return
    assert_same_bits(model)


REFUSED: list[tuple[Chain, tuple[int, ...], str]] = [
    (lambda net, x: net.op("Relu", x), SHAPE, "more than 256 different values"),
    (lambda net, x: x, SHAPE, "float"),
    (lambda net, x: net.op("AveragePool", x, kernel_shape=[2, 2]), SHAPE, "avg_pool2d"),
    (two_inputs, SHAPE, "mixes several tensors"),
    (per_pixel, SHAPE, "from pixel to pixel"),
    (per_image, (2, 4, 5, 5), "from image to image"),
    (bump_before_pool, SHAPE, "do not rise"),
]


@pytest.mark.parametrize(("chain", "shape", "reason"), REFUSED)
def test_refuses(chain: Chain, shape: tuple[int, ...], reason: str) -> None:
    mod, context = passes_until(layer(chain, shape), "recognise_activations")
    (row,) = context.layers.values()
    assert reason in row.reason and row.N is None and row.M == 1
    assert len(calls(mod, "nn.conv2d")) == 1
    assert not calls(mod, "abc.bconv2d") and not calls(mod, "abc.step")


@pytest.mark.parametrize("name", ["two_bits", "sum"])
def test_golden(name: str) -> None:
    mod, _ = passes_until(layer(OTHERS[name]), "recognise_activations")
    check_golden(f"recognise_activations_{name}", mod)


@pytest.mark.parametrize("name", [*OTHERS, "double_sign"])
def test_numbers(name: str) -> None:
    assert_same_bits(layer((SAME | OTHERS)[name]))


@pytest.mark.parametrize(("chain", "shape", "reason"), [REFUSED[i] for i in (3, 4, 5, 6)])
def test_numbers_of_refused_layers(chain: Chain, shape: tuple[int, ...], reason: str) -> None:
    """The float convolution on small integers is exact as well."""
    assert_same_bits(layer(chain, shape))


@pytest.mark.parametrize("name", ["where", "bn", "two_bits"])
def test_special_floats_behave_as_in_the_graph(name: str) -> None:
    model = layer((SAME | OTHERS)[name])
    edges = np.float32([0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf, 0.25, 0.5])
    edges = np.concatenate([edges, np.nextafter(edges[-2:], 0), np.nextafter(edges[-2:], 1)])
    if name == "bn":
        edges = edges[np.isfinite(edges)]  # gamma 0 makes NaN of an infinity
    x = np.random.default_rng(0).choice(edges, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(compiled(model)[0](x), onnxruntime_output(model, x))


def test_again_changes_nothing() -> None:
    once, context = passes_until(two_layers(pool=True), "recognise_activations")
    assert_equal_ir(RecogniseActivations(context)(once), once)


# ---- padding by a level ---------------------------------------------------------------


def padded(
    value: float = -1.0,
    widths: tuple[int, ...] = (0, 0, 1, 2, 0, 0, 0, 1),
    *,
    chain: Chain = lambda net, x: net.step(x, 0.25),
    pool: str = "",
    **attributes: str,
) -> onnx.ModelProto:
    """One convolution of a padded activation; ``pool``: before or behind the Pad."""
    net = Net(SHAPE)
    x = chain(net, "input")
    if pool == "before":
        x = net.op("MaxPool", x, kernel_shape=[2, 2])
    x = net.op("Pad", x, net.ints(*widths), net.constant(value), **attributes)
    if pool == "behind":
        x = net.op("MaxPool", x, kernel_shape=[2, 2])
    channels = 4 + widths[1] + widths[5]
    return net.model(net.conv(x, net.signs(6, channels, 3, 3)))


@pytest.mark.parametrize("pool", ["", "before"])
@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_padding_by_a_level(value: float, pool: str) -> None:
    model = padded(value, pool=pool)
    mod, context = passes_until(model, "recognise_activations")
    (pad,) = calls(mod, "nn.pad")
    assert [int(n) for n in pad.attrs.pad_width] == [0, 0, 1, 0, 2, 1, 0, 0]
    assert float(pad.attrs.pad_value) == value
    assert len(calls(mod, "abc.bconv2d")) == 1 and not calls(mod, "nn.conv2d")
    assert [row.N for row in context.layers.values()] == [1]
    assert_equal_ir(RecogniseActivations(context)(mod), mod)
    assert_same_bits(model)


def test_padding_is_scaled_with_the_levels() -> None:
    """Levels 0, 0.5, 1, 1.5 are none of these scaled; 12 to 15 are scaled by eight."""
    high = lambda net, x: net.op("Add", net.op("Mul", two_bits(net, x), net.constant(2.0)),  # noqa: E731
                                 net.constant(12.0))  # fmt: skip
    model = padded(13.0, chain=high)
    mod, _ = passes_until(model, "recognise_activations")
    (pad,), (step,) = calls(mod, "nn.pad"), calls(mod, "abc.step")
    assert float(pad.attrs.pad_value) == 13 / 8 == steps_of(step).levels[1]
    assert_same_bits(model)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            padded(0.5),
            "its input is padded by Pad with 0.5, which is no level of its step function (-1, 1)",
        ),
        (
            padded(1 + 2.0**-10),
            "padded by Pad with 1.0009766, which is no level of its step function (-1, 1)",
        ),
        (padded(1.0, chain=lambda net, x: net.op("Relu", x)), "more than 256 different values"),
    ],
    ids=["no level", "beside a level", "no step"],
)
def test_padding_that_stays(model: onnx.ModelProto, reason: str) -> None:
    mod, context = passes_until(model, "recognise_activations")
    (row,) = context.layers.values()
    assert reason in row.reason and row.lowering == "float"
    assert len(calls(mod, "nn.conv2d")) == 1 and not calls(mod, "abc.step")
    assert_same_bits(model)


def test_two_paddings_of_one_step() -> None:
    """By either level, and one that is none: two read one step, one the graph's own chain."""
    net = Net(SHAPE)
    x = net.step("input", 0.25)
    widths = net.ints(0, 0, 1, 1, 0, 0, 1, 1)
    ends = [net.conv(net.op("Pad", x, widths, net.constant(v)), net.signs(6, 4, 3, 3))
            for v in (-1.0, 1.0, 2.0)]  # fmt: skip
    model = net.model(net.op("Sum", *ends))
    mod, _ = passes_until(model, "recognise_activations")
    assert len(calls(mod, "abc.step")) == 1 and len(calls(mod, "abc.bconv2d")) == 2
    assert sorted(float(c.attrs.pad_value) for c in calls(mod, "nn.pad")) == [-1, 1, 2]
    assert_same_bits(model)


def test_golden_padding() -> None:
    mod, _ = passes_until(padded(pool="before"), "recognise_activations")
    check_golden("recognise_padded_levels", mod)
    for lowering in ("bitserial", "int8"):
        mod, _ = passes_until(padded(pool="before"), "encode", lowering)
        check_golden(f"encode_padded_levels_{lowering}", mod)
