"""Bases on an extra axis: where the axis appears and goes, what puts the stack together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until

Build = Callable[[Net], str]
AXES = range(5)


def factors(net: Net, axis: int, count: int = 2) -> str:
    """A number for each base along ``axis``."""
    shape = [count if i == axis else 1 for i in range(5)]
    return net.constant((np.arange(1, count + 1) / 4).reshape(shape))


def added(net: Net, x: str, axis: int, keepdims: int = 0, mean: bool = False) -> str:
    if mean:
        return net.op("ReduceMean", x, axes=[axis], keepdims=keepdims)
    return net.op("ReduceSum", x, net.ints(axis), keepdims=keepdims)


def on_new_axis(axis: int) -> Build:
    def build(net: Net) -> str:
        wide = net.op("Unsqueeze", net.step("input"), net.ints(axis))
        return added(net, net.op("Mul", wide, factors(net, axis)), axis)

    return build


def by_reshape(net: Net) -> str:
    wide = net.op("Reshape", net.step("input"), net.ints(2, 1, 4, 5, 5))
    total = added(net, net.op("Mul", wide, factors(net, 1)), 1, keepdims=1)
    return net.op("Reshape", total, net.ints(2, 4, 5, 5))


def by_concat(net: Net) -> str:
    parts = [net.op("Unsqueeze", net.step("input", t), net.ints(0)) for t in (0.0, 0.5, 1.0)]
    wide = net.op("Concat", *parts, axis=0)
    return added(net, net.op("Mul", wide, factors(net, 0, 3)), 0)


def averaged(net: Net) -> str:
    wide = net.op("Unsqueeze", net.step("input"), net.ints(0))
    mean = added(net, net.op("Mul", wide, factors(net, 0)), -5, keepdims=1, mean=True)
    return net.op("Squeeze", mean, net.ints(0))


def by_sum(net: Net) -> str:
    """The importer writes Sum as broadcast, stack and sum."""
    return net.op("Sum", *(net.step("input", t) for t in (0.0, 0.5, 1.0)))


SINGLE: dict[str, Build] = {
    **{f"axis {axis}": on_new_axis(axis) for axis in AXES},
    "reshape": by_reshape,
    "concat": by_concat,
    "mean": averaged,
    "sum": by_sum,
}


def maximum(net: Net) -> str:
    """Not a sum: the stack is put together."""
    wide = net.op("Unsqueeze", net.step("input"), net.ints(0))
    return net.op("ReduceMax", net.op("Mul", wide, factors(net, 0)), axes=[0], keepdims=0)


def over_another_axis(net: Net) -> str:
    wide = net.op("Mul", net.op("Unsqueeze", net.step("input"), net.ints(0)), factors(net, 0))
    return added(net, net.op("Transpose", wide, perm=[1, 0, 2, 3, 4]), 1)


def other_axes_joined(net: Net) -> str:
    parts = [net.op("Unsqueeze", net.step("input", t), net.ints(1)) for t in (0.0, 0.5)]
    wide = net.op("Concat", *parts, axis=2)
    return net.op("Reshape", wide, net.ints(2, 8, 5, 5))


TOGETHER: dict[str, Build] = {
    "max": maximum,
    "over another axis": over_another_axis,
    "joined along another axis": other_axes_joined,
}


def model_of(build: Build, channels: int = 4) -> onnx.ModelProto:
    net = Net((2, 4, 5, 5))
    return net.model(net.conv(build(net), net.signs(6, channels, 3, 3), 1))


@pytest.mark.parametrize("name", SINGLE)
def test_fires(name: str) -> None:
    mod, context = passes_until(model_of(SINGLE[name]), "recognise_activations")
    for gone in ("expand_dims", "stack", "concat", "sum", "mean", "squeeze", "broadcast_to"):
        assert not calls(mod, gone), gone
    assert (3 if name in ("concat", "sum") else 1) == next(iter(context.layers.values())).N


@pytest.mark.parametrize("name", TOGETHER)
def test_refuses(name: str) -> None:
    channels = 8 if name == "joined along another axis" else 4
    mod, _ = passes_until(model_of(TOGETHER[name], channels), "canonicalise")
    assert calls(mod, "expand_dims")


@pytest.mark.parametrize("name", [*SINGLE, *TOGETHER])
def test_numbers(name: str) -> None:
    channels = 8 if name == "joined along another axis" else 4
    assert_same_bits(model_of({**SINGLE, **TOGETHER}[name], channels), "auto")
