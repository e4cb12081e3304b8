"""Element-wise operators in the layout of what they read: no Transposes, the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from abc_tvm.relay_passes.rewrite import bindings, constant
from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until

Build = Callable[[Net], str]


def model_of(build: Build, shape: tuple[int, ...] = (2, 4, 6, 6)) -> onnx.ModelProto:
    net = Net(shape)
    return net.model(build(net))


def conv(net: Net, x: str, channels: int = 4) -> str:
    return net.conv(x, net.signs(4, channels, 3, 3))


def flat(net: Net, x: str) -> str:
    return net.op("Flatten", x, axis=1)


def dense(net: Net, x: str, features: int) -> str:
    return net.op("Gemm", x, net.constant(net.signs(5, features)), transB=1)


IMAGES: dict[str, Build] = {
    "per channel": lambda n: n.op("Add", conv(n, "input"), n.channels([0.25, -1, 2, 0])),
    "per pixel": lambda n: n.op(
        "Mul", conv(n, "input"), n.constant(np.arange(16).reshape(4, 4) / 4)
    ),
    "constant first": lambda n: n.op("Sub", n.channels([1, 2, 3, 4]), conv(n, "input")),
    "two tensors": lambda n: n.op("Add", conv(n, "input"), conv(n, "input")),
    "clip": lambda n: n.op("Clip", conv(n, "input"), n.constant(-3.0), n.constant(2.5)),
}
FEATURES: dict[str, Build] = {
    "flattened": lambda n: dense(
        n, n.op("Mul", flat(n, conv(n, "input")), n.constant(np.arange(64) / 4)), 64
    ),
    "two flattened": lambda n: dense(
        n, n.op("Add", flat(n, conv(n, "input")), flat(n, conv(n, "input"))), 64
    ),
    "of features": lambda n: n.op(
        "Relu", n.op("Add", dense(n, flat(n, conv(n, "input")), 64), n.constant(np.arange(5)))
    ),
}


@pytest.mark.parametrize("name", [*IMAGES, *FEATURES])
def test_nothing_is_transposed_in_between(name: str) -> None:
    """Cases 1, 4, 5 and 6: one Transpose in; out as well, where an image goes out."""
    mod, _ = passes_until(model_of({**IMAGES, **FEATURES}[name]), "canonicalise")
    assert len(calls(mod, "permute_dims")) == (2 if name in IMAGES else 1)
    assert not calls(mod, "call_tir")


def expanded(net: Net, x: str, *values: float) -> str:
    """A number for each channel, as large as ``x``, whatever the batch is."""
    return net.op("Expand", net.channels(list(values)), net.op("Shape", x))


SPREAD: dict[str, Build] = {
    "expanded": lambda n: n.op("Add", "input", expanded(n, "input", 1, 2, 3, 4)),
    "expanded, first": lambda n: n.op("Sub", expanded(n, "input", 1, 2, 3, 4), "input"),
    "Min": lambda n: n.op("Min", "input", n.constant(0.5)),
    "Max of three": lambda n: n.op("Max", n.constant(-1.0), "input", n.channels([0, 1, 2, 3])),
    "Mean": lambda n: n.op("Mean", "input", n.constant(0.5), n.constant(0.25)),
    "negated": lambda n: n.op("Sub", n.op("Neg", expanded(n, "input", 1, 2, 3, 4)), "input"),
    "of two": lambda n: n.op(
        "Add", n.op("Mul", expanded(n, "input", 1, 2, 3, 4), expanded(n, "input", 2)), "input"),
    "of a cast": lambda n: n.op("Add", "input", n.op(
        "Cast", n.op("Not", n.op("Cast", expanded(n, "input", 0), to=9)), to=1)),
    "Where": lambda n: n.op("Where", n.op("Greater", "input", n.constant(0.0)),
                            expanded(n, "input", 1, 2, 3, 4), n.constant(0.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", SPREAD)
@pytest.mark.parametrize("open_batch", [False, True])
def test_what_operators_broadcast_is_not_stored(name: str, open_batch: bool) -> None:
    """A number for each channel stays one, in every spelling, and is a step before a layer."""
    net = Net((2, 4, 6, 6))
    x = net.step(SPREAD[name](net))
    model = net.model(net.conv(x, net.signs(4, 4, 3, 3)), open_batch)
    mod, _ = passes_until(model, "canonicalise")
    assert not calls(mod, "broadcast_to") and not calls(mod, "stack")
    stored = [constant(a) for _, call in bindings(mod["main"]) for a in getattr(call, "args", [])]
    sizes = [array.size for array in stored if array is not None]
    assert sorted(sizes)[-2:] in ([4, 144], [1, 144])
    context = assert_same_bits(model)
    assert [row.lowering for row in context.layers.values()] == ["bitserial"]


def test_ones_and_their_negation_are_a_sign() -> None:
    """``where(x >= 0, ones_like(x), -ones_like(x))``, of an open batch."""
    net = Net((2, 4, 6, 6))
    ones = expanded(net, "input", 1)
    sign = net.op(
        "Where",
        net.op("GreaterOrEqual", "input", net.constant(0.0)),
        ones,
        net.op("Neg", ones),
    )
    model = net.model(net.conv(sign, net.signs(4, 4, 3, 3)), symbolic_batch=True)
    context = assert_same_bits(model)
    assert [(row.M, row.N) for row in context.layers.values()] == [(1, 1)]


def test_many_operators_of_what_is_repeated() -> None:
    """Each is looked at once: x + x of x + x … takes no 2^40 steps."""
    net = Net((2, 4, 6, 6))
    x = expanded(net, "input", 1)
    for _ in range(40):
        x = net.op("Add", x, x)
    assert_same_bits(net.model(net.op("Mul", "input", x), symbolic_batch=True))


def test_what_both_are_broadcast_to_is_kept() -> None:
    """Neither has the shape of the result by itself."""
    net = Net((2, 4, 6, 6))
    row = net.op("ReduceMax", "input", axes=[2])
    wide = net.op("Expand", row, net.ints(2, 4, 6, 6))
    column = net.op("Expand", net.op("ReduceMax", "input", axes=[3]), net.ints(2, 4, 6, 6))
    sums = [net.op("Add", wide, column), net.op("Add", wide, net.constant(1.0))]
    assert_same_bits(
        net.model(
            net.op(
                "Mul",
                *sums,
            )
        )
    )
    net = Net((2, 4, 6, 6))
    row = net.op("ReduceMax", "input", axes=[2])
    column = net.op("ReduceMax", "input", axes=[3])
    assert_same_bits(net.model(net.op("Max", row, column)))


MIXED: dict[str, Build] = {
    "a tensor of rank 3": lambda n: n.op(
        "Add", conv(n, "input"), n.op("ReduceMax", conv(n, "input"), axes=[0], keepdims=0)
    ),
    "an image and its flattening": lambda n: n.op(
        "Add", flat(n, conv(n, "input")), n.op("Reshape", conv(n, "input"), n.ints(2, 64))
    ),
    "flattened after a Transpose": lambda n: n.op(
        "Add",
        flat(n, n.op("Transpose", conv(n, "input"), perm=[0, 2, 3, 1])),
        flat(n, conv(n, "input")),
    ),
    "of rank 3 alone": lambda n: n.op("Relu", n.op("ReduceMax", "input", axes=[0], keepdims=0)),
    "of constants": lambda n: n.op(
        "Add", conv(n, "input"), n.op("Mul", n.channels([1, 2, 3, 4]), n.constant(0.25))
    ),
    "one image for all": lambda n: n.op(
        "Mul", conv(n, "input"), n.op("ReduceMax", conv(n, "input"), axes=[0], keepdims=1)
    ),
}
STACKS: dict[str, Build] = {
    "a stack and a tensor": lambda n: n.op(
        "Add", n.op("Unsqueeze", conv(n, "input"), n.ints(0)), conv(n, "input")
    ),
    "a stack and constants of its axis": lambda n: n.op(
        "Mul",
        n.op("Unsqueeze", conv(n, "input"), n.ints(1)),
        n.constant(np.arange(1, 4).reshape(3, 1, 1, 1) / 2),
    ),
    "stacks of two axes": lambda n: n.op(
        "Add",
        n.op("Unsqueeze", conv(n, "input"), n.ints(1)),
        n.op("Unsqueeze", conv(n, "input"), n.ints(0)),
    ),
}


@pytest.mark.parametrize("name", [*IMAGES, *FEATURES, *MIXED, *STACKS])
def test_numbers(name: str) -> None:
    build = {**IMAGES, **FEATURES, **MIXED, **STACKS}[name]
    assert_same_bits(model_of(build), "auto")


def test_constants_are_folded() -> None:
    """Case 3."""
    mod, _ = passes_until(model_of(MIXED["of constants"]), "canonicalise")
    assert not calls(mod, "multiply")


@pytest.mark.parametrize("name", [*IMAGES, *FEATURES])
def test_again_changes_nothing(name: str) -> None:
    once, _ = passes_until(model_of({**IMAGES, **FEATURES}[name]), "canonicalise")
    assert Canonicalise()(once) is once
