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


def stack_of_three(net: Net, axis: int = 0) -> str:
    parts = [net.op("Unsqueeze", net.step("input", t), net.ints(axis)) for t in (0.0, 0.5, 1.0)]
    return net.op("Concat", *parts, axis=axis)


def moved_axis(net: Net) -> str:
    wide = net.op("Mul", net.op("Unsqueeze", net.step("input"), net.ints(0)), factors(net, 0))
    return added(net, net.op("Transpose", wide, perm=[1, 0, 2, 3, 4]), 1)


def by_vector(net: Net) -> str:
    last = net.op("Transpose", stack_of_three(net), perm=[1, 2, 3, 4, 0])
    return net.op("MatMul", last, net.constant(np.arange(1, 4) / 4))


def by_column(net: Net) -> str:
    column = net.constant((np.arange(1, 4) / 4).reshape(3, 1))
    total = net.op("MatMul", stack_of_three(net, 4), column)
    return net.op("Squeeze", total, net.ints(4))


def by_einsum(net: Net) -> str:
    weights = net.constant(np.arange(1, 4) / 4)
    return net.op("Einsum", weights, stack_of_three(net, 1), equation="n,bnchw->bchw")


def chosen(net: Net) -> str:
    """The last slice, and the first two in the other order."""
    wide = stack_of_three(net)
    last = net.op("Slice", wide, net.ints(2), net.ints(3), net.ints(0), net.ints(1))
    some = net.op("Gather", wide, net.ints(1, 0), axis=0)
    both = net.op("Concat", last, some, axis=0)
    return added(net, net.op("Mul", both, factors(net, 0, 3)), 0)


def extremes(net: Net) -> str:
    """The importer stacks what Max and Min read."""
    first, last = net.step("input", 0.0), net.step("input", 1.0)
    return net.op("Min", net.op("Max", net.step("input", 0.5), last), first)


def clipped_stack(net: Net) -> str:
    """Case 9: exporters write Clip as Max and Min, of a stack and a number too."""
    wide = net.op("Add", net.op("Unsqueeze", "input", net.ints(1)), factors(net, 1, 3))
    unit = net.op("Min", net.constant(1.0), net.op("Max", wide, net.constant(0.0)))
    signs = net.op("Sign", net.op("Sub", unit, net.constant(0.5)))
    return added(net, net.op("Mul", net.op("Sum", signs, signs), factors(net, 1, 3)), 1)


def mean_of_stacks(net: Net) -> str:
    """Case 9: the Mean of two stacks is one."""
    wide = net.op("Unsqueeze", net.step("input"), net.ints(1))
    both = net.op("Mean", net.op("Mul", wide, factors(net, 1)), wide)
    return added(net, both, 1)


SINGLE: dict[str, Build] = {
    "clipped stack": clipped_stack,
    "mean of stacks": mean_of_stacks,
    "extremes": extremes,
    "moved axis": moved_axis,
    "vector": by_vector,
    "column": by_column,
    "einsum": by_einsum,
    "chosen": chosen,
    **{f"axis {axis}": on_new_axis(axis) for axis in AXES},
    "reshape": by_reshape,
    "concat": by_concat,
    "mean": averaged,
    "sum": by_sum,
}


def product(net: Net) -> str:
    """Neither a sum nor an extreme: the stack is put together."""
    wide = net.op("Unsqueeze", net.step("input"), net.ints(0))
    return net.op("ReduceProd", net.op("Mul", wide, factors(net, 0)), axes=[0], keepdims=0)


def other_axes_moved(net: Net) -> str:
    wide = net.op("Mul", net.op("Unsqueeze", net.step("input"), net.ints(0)), factors(net, 0))
    turned = net.op("Transpose", wide, perm=[0, 1, 2, 4, 3])
    return net.op("Transpose", added(net, turned, 0), perm=[0, 1, 3, 2])


def other_axes_joined(net: Net) -> str:
    parts = [net.op("Unsqueeze", net.step("input", t), net.ints(1)) for t in (0.0, 0.5)]
    wide = net.op("Concat", *parts, axis=2)
    return net.op("Reshape", wide, net.ints(2, 8, 5, 5))


TOGETHER: dict[str, Build] = {
    "product": product,
    "other axes moved": other_axes_moved,
    "joined along another axis": other_axes_joined,
}


THREE = ("clipped stack", "concat", "sum", "vector", "column", "einsum", "chosen")


def model_of(build: Build, channels: int = 4) -> onnx.ModelProto:
    net = Net((2, 4, 5, 5))
    return net.model(net.conv(build(net), net.signs(6, channels, 3, 3), 1))


@pytest.mark.parametrize("name", SINGLE)
def test_fires(name: str) -> None:
    mod, context = passes_until(model_of(SINGLE[name]), "recognise_activations")
    for gone in (
        "max",
        "min",
        "expand_dims",
        "stack",
        "concat",
        "sum",
        "mean",
        "squeeze",
        "broadcast_to",
    ):
        assert not calls(mod, gone), gone
    assert (3 if name in THREE else 1) == next(iter(context.layers.values())).N


@pytest.mark.parametrize("name", TOGETHER)
def test_refuses(name: str) -> None:
    channels = 8 if name == "joined along another axis" else 4
    mod, _ = passes_until(model_of(TOGETHER[name], channels), "canonicalise")
    assert calls(mod, "expand_dims")


@pytest.mark.parametrize("name", [*SINGLE, *TOGETHER])
def test_numbers(name: str) -> None:
    channels = 8 if name == "joined along another axis" else 4
    assert_same_bits(model_of({**SINGLE, **TOGETHER}[name], channels), "auto")


SHIFTS = (0.0, 0.5, 1.0)


def carried(net: Net, axis: int, back: bool = True, batch: int = 2) -> str:
    """Three bases in the batch, one convolution of all, and their weighted sum."""
    wide = stack_of_three(net, axis)
    rows = net.op("Reshape", wide, net.ints(3 * batch, 4, 5, 5))
    layer = net.conv(rows, net.signs(6, 4, 3, 3), 1)
    if not back:
        return layer
    order = (3, batch) if axis == 0 else (batch, 3)
    apart = net.op("Reshape", layer, net.ints(*order, 6, 5, 5))
    return added(net, net.op("Mul", apart, factors(net, axis, 3)), axis)


def batches(net: Net) -> str:
    """Three bases one behind the other in the batch, and split again."""
    rows = net.op("Concat", *(net.step("input", t) for t in SHIFTS), axis=0)
    layer = net.op("Neg", net.conv(rows, net.signs(6, 4, 3, 3), 1))
    parts = net.split(layer, 3, axis=0)
    return net.op("Sum", *(net.op("Mul", p, net.constant(k + 1.0)) for k, p in enumerate(parts)))


CARRIED: dict[str, Build] = {
    "before the batch": lambda net: carried(net, 0),
    "behind the batch": lambda net: carried(net, 1),
    "batches": batches,
}


def split_again(net: Net) -> str:
    parts = net.split(stack_of_three(net), 3, axis=0)
    ends = [net.conv(net.op("Squeeze", p, net.ints(0)), net.signs(6, 4, 3, 3), 1) for p in parts]
    weighted = [net.op("Mul", e, net.constant(k + 1.0)) for k, e in enumerate(ends)]
    return net.op("Sum", *weighted)


@pytest.mark.parametrize("name", CARRIED)
def test_bases_in_the_batch_are_one_layer(name: str) -> None:
    net = Net((2, 4, 5, 5))
    model = net.model(CARRIED[name](net))
    mod, context = passes_until(model, "recognise_activations")
    assert [(row.M, row.N) for row in context.layers.values()] == [(1, 3)]
    assert len(calls(mod, "abc.bconv2d")) == 1
    assert_same_bits(model)


def test_bases_that_are_split_again() -> None:
    """Other weights for each: three layers, none of which reads a stack."""
    net = Net((2, 4, 5, 5))
    model = net.model(split_again(net))
    mod, context = passes_until(model, "recognise_activations")
    assert {(row.M, row.N) for row in context.layers.values()} == {(1, 1)}
    assert len(calls(mod, "abc.bconv2d")) == 3 and not calls(mod, "split")
    assert_same_bits(model)


def test_a_batch_that_is_never_parted_is_one_layer() -> None:
    """Frames of a film are no bases: what follows is computed once, of all of them."""
    net = Net((2, 4, 5, 5))
    layer = carried(net, 0, back=False)
    model = net.model(net.conv(net.op("Relu", layer), net.signs(6, 6, 3, 3), 1))
    mod, _ = passes_until(model, "canonicalise")
    assert len(calls(mod, "nn.conv2d")) == 2
    assert_same_bits(model)


def test_a_factor_for_each_image_puts_it_together() -> None:
    net = Net((2, 4, 5, 5))
    rows = net.op("Reshape", stack_of_three(net), net.ints(6, 4, 5, 5))
    images = net.op("Mul", rows, net.constant(np.arange(1, 7).reshape(6, 1, 1, 1)))
    layer = net.conv(images, net.signs(6, 4, 3, 3), 1)
    apart = net.op("Reshape", layer, net.ints(3, 2, 6, 5, 5))
    model = net.model(added(net, net.op("Mul", apart, factors(net, 0, 3)), 0))
    mod, _ = passes_until(model, "canonicalise")
    assert len(calls(mod, "nn.conv2d")) == 1
    assert_same_bits(model)
