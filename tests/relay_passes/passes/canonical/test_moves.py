"""Operators that move data and need not; and those that must."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until

Build = Callable[[Net], str]


def conv(net: Net, x: str = "input", channels: int = 4) -> str:
    return net.conv(x, net.signs(4, channels, 2, 2))


def pooled(net: Net) -> str:
    return net.op("GlobalAveragePool", conv(net))


def dense(net: Net, x: str, features: int) -> str:
    return net.op("Gemm", x, net.constant(net.signs(8, features)), transB=1)


def islands(net: Net) -> str:
    x = net.op("Relu", net.op("Transpose", conv(net), perm=[0, 2, 3, 1]))
    return conv(net, net.op("Transpose", x, perm=[0, 3, 1, 2]))


def flattened_in_nhwc(net: Net) -> str:
    x = net.op("Transpose", conv(net), perm=[0, 2, 3, 1])
    return dense(net, net.op("Reshape", x, net.ints(2, 36)), 36)


def back_to_an_image(net: Net) -> str:
    x = net.op(
        "Reshape", dense(net, net.op("Flatten", conv(net), axis=1), 36), net.ints(2, 8, 1, 1)
    )
    return net.conv(x, net.signs(4, 8, 1, 1))


MOVED: dict[str, tuple[Build, int]] = {
    "islands": (islands, 2),
    "flattened": (lambda n: dense(n, n.op("Flatten", conv(n), axis=1), 36), 1),
    "flattened in NHWC": (flattened_in_nhwc, 1),
    "squeezed": (lambda n: dense(n, n.op("Squeeze", pooled(n), n.ints(2, 3)), 4), 1),
    "back to an image": (back_to_an_image, 2),
    "concat of images": (lambda n: conv(n, n.op("Concat", conv(n), conv(n), axis=1), 8), 2),
    "concat of rows": (lambda n: conv(n, n.op("Concat", conv(n), conv(n), axis=2)), 2),
    "concat of features": (
        lambda n: dense(
            n,
            n.op("Concat", *(n.op("Squeeze", pooled(n), n.ints(2, 3)) for _ in "ab"), axis=1),
            8,
        ),
        1,
    ),
}
"""Network, and how many Transposes its ends need."""


OTHERS: dict[str, Build] = {
    "another permutation": lambda n: n.op("Transpose", conv(n), perm=[0, 1, 3, 2]),
    "another reshape": lambda n: n.op("Reshape", conv(n), n.ints(2, 6, 6)),
    "one axis squeezed": lambda n: n.op("Squeeze", pooled(n), n.ints(3)),
    "concat of features of two batches": lambda n: n.op(
        "Concat", *(n.op("Flatten", pooled(n), axis=1) for _ in "ab"), axis=0
    ),
    "concat with the input": lambda n: n.op(
        "Concat", n.op("Slice", "input", n.ints(0), n.ints(3), n.ints(3)), conv(n), axis=2
    ),
    "expanded": lambda n: n.op("Expand", pooled(n), n.ints(2, 4, 3, 3)),
    "expanded to itself": lambda n: n.op("Expand", conv(n), n.ints(2, 4, 3, 3)),
}


def model_of(build: Build) -> onnx.ModelProto:
    net = Net((2, 4, 4, 4))
    return net.model(build(net))


@pytest.mark.parametrize("name", MOVED)
def test_nothing_moves_in_between(name: str) -> None:
    build, ends = MOVED[name]
    mod, _ = passes_until(model_of(build), "canonicalise")
    assert len(calls(mod, "permute_dims")) == ends
    assert len(calls(mod, "reshape")) <= 1, "the result alone"
    assert not calls(mod, "squeeze")


def test_an_expand_to_the_same_shape_is_nothing() -> None:
    mod, _ = passes_until(model_of(OTHERS["expanded to itself"]), "canonicalise")
    assert not calls(mod, "broadcast_to")


@pytest.mark.parametrize("name", [*MOVED, *OTHERS])
def test_numbers(name: str) -> None:
    builds = {**{key: build for key, (build, _) in MOVED.items()}, **OTHERS}
    assert_same_bits(model_of(builds[name]), "float")
