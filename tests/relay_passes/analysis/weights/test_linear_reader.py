"""Which values of a graph are read as linear forms, case by case of the module's docstring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.analysis.weights.linear_form import LinearForm
from abc_tvm.relay_passes.analysis.weights.linear_reader import ends, linear_forms
from tests.relay_passes.harness import Net, passes_until

COUNT = 6


def read(model: onnx.ModelProto) -> tuple[list[LinearForm], list[LinearForm]]:
    """All forms of the canonical module, and those that are ends."""
    func = passes_until(model, "canonicalise")[0]["main"]
    forms = linear_forms(func)
    return list(forms.values()), [forms[var] for var in ends(func, forms)]


def net_of(build: Callable[[Net, str], str]) -> onnx.ModelProto:
    net = Net((1, 4, 5, 5))
    return net.model(build(net, net.step("input")))


def conv(net: Net, x: str, width: int = 4) -> str:
    return net.conv(x, net.signs(COUNT, width, 3, 3))


def last(build: Callable[[Net, str], str]) -> LinearForm:
    return read(net_of(build))[0][-1]


def test_a_convolution_is_one_term() -> None:
    """Case 1."""
    form = last(conv)
    assert (form.count, len(form.terms), form.name) == (1, 1, "conv_0")
    np.testing.assert_array_equal(form.terms[0].parts[0].scale, np.ones(COUNT))
    assert form.terms[0].parts[0].weight.dtype == np.int8, "one plane: its scale comes out"


@pytest.mark.parametrize(("widths", "terms"), [((4, 4), 2), ((4, 4, 4), 3), ((4, 2), 1)])
def test_a_concat_of_channels_has_a_term_for_each(widths: tuple[int, ...], terms: int) -> None:
    """Case 1; inputs of different widths stay one."""
    net = Net((1, 4, 5, 5))
    parts = [net.step("input", i / 4) for i in range(len(widths))]
    sliced = [
        p if w == 4 else net.op("Slice", p, net.ints(0), net.ints(w), net.ints(1))
        for p, w in zip(parts, widths, strict=True)
    ]
    x = net.op("Concat", *sliced, axis=1)
    forms, _ = read(net.model(conv(net, x, sum(widths))))
    assert len(forms[-1].terms) == forms[-1].count == terms


PER_CHANNEL = np.arange(1, COUNT + 1) / 4


@pytest.mark.parametrize(
    ("build", "scale", "bias"),
    [
        (lambda n, y: n.op("Neg", y), -1.0, 0.0),
        (lambda n, y: n.op("Mul", y, n.channels(PER_CHANNEL)), PER_CHANNEL, 0.0),
        (lambda n, y: n.op("Mul", n.constant(3.0), y), 3.0, 0.0),
        (lambda n, y: n.op("Div", y, n.channels(PER_CHANNEL)), 1 / PER_CHANNEL, 0.0),
        (lambda n, y: n.op("Add", y, n.channels(PER_CHANNEL)), 1.0, PER_CHANNEL),
        (lambda n, y: n.op("Sub", y, n.channels(PER_CHANNEL)), 1.0, -PER_CHANNEL),
        (
            lambda n, y: n.op("Mul", n.op("Add", y, n.constant(1.0)), n.constant(-2.0)),
            -2.0,
            -2.0,
        ),
    ],
)
def test_constants_scale_and_shift(build, scale, bias) -> None:
    """Cases 2 and 3."""
    form = last(lambda n, x: build(n, conv(n, x)))
    (part,) = form.terms[0].parts
    np.testing.assert_allclose(part.scale, np.broadcast_to(scale, COUNT), 1e-15)
    np.testing.assert_allclose(form.bias, np.broadcast_to(bias, COUNT), 1e-15)


@pytest.mark.parametrize(
    "build",
    [
        lambda n, y: n.op("Sub", n.constant(1.0), y),
        lambda n, y: n.op("Div", n.constant(1.0), y),
        lambda n, y: n.op("Div", y, n.channels([1, 2, 0, 4, 5, 6])),
        lambda n, y: n.op("Mul", y, n.constant(np.arange(9, dtype=np.float32).reshape(3, 3))),
        lambda n, y: n.op("Relu", y),
    ],
    ids=["1 - form", "1 / form", "form / 0", "a factor a pixel", "relu"],
)
def test_other_operators_are_none(build) -> None:
    forms, _ = read(net_of(lambda n, x: build(n, conv(n, x))))
    assert len(forms) == 1, "the convolution alone"


@pytest.mark.parametrize(("operator", "second"), [("Add", 1.0), ("Sub", -1.0)])
def test_two_forms_are_one(operator: str, second: float) -> None:
    """Case 4."""
    forms, found = read(net_of(lambda n, x: n.op(operator, conv(n, x), conv(n, x))))
    assert found == [forms[-1]] and forms[-1].count == 2
    scales = [part.scale[0] for part in forms[-1].terms[0].parts]
    assert scales == [1.0, second]


@pytest.mark.parametrize("operator", ["Mul", "Div"])
def test_products_of_forms_are_none(operator: str) -> None:
    forms, found = read(net_of(lambda n, x: n.op(operator, conv(n, x), conv(n, x))))
    assert len(forms) == 2 and not found


def test_what_is_read_twice_is_taken_in_by_nobody() -> None:
    def build(net: Net, x: str) -> str:
        shared = net.op("Add", conv(net, x), conv(net, x))
        return net.op("Add", net.op("Add", shared, conv(net, x)), net.op("Relu", shared))

    _, found = read(net_of(build))
    assert [form.count for form in found] == [2]


def test_the_end_is_the_largest_form() -> None:
    def build(net: Net, x: str) -> str:
        total = conv(net, x)
        for _ in range(3):
            total = net.op("Add", total, conv(net, x))
        return net.op("Mul", net.op("Add", total, net.constant(1.0)), net.constant(2.0))

    forms, found = read(net_of(build))
    assert [form.count for form in found] == [4]
    assert found[0] is not forms[-1], "what follows the last Add stays the graph's own"


def test_another_type_is_none() -> None:
    def build(net: Net, x: str) -> str:
        total = net.op("Add", conv(net, x), conv(net, x))
        wide = net.op("Cast", total, to=onnx.TensorProto.DOUBLE)
        doubled = net.op("Mul", wide, net.constant(2.0, np.float64))
        return net.op("Cast", doubled, to=onnx.TensorProto.FLOAT)

    forms, _ = read(net_of(build))
    assert len(forms) == 3
