"""Ties in networks, against onnxruntime; and where no atom lies, no plane is paid for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from abc_tvm.relay_passes.atoms import NOWHERE
from abc_tvm.relay_passes.grids import added, common_unit, mapped, multiples, points, sums
from tests.relay_passes.harness import Net, assert_same_bits, passes_until

IMAGE = (2, 8, 6, 6)
Chain = Callable[[Net, str], str]


def sums_of_signs(net: Net, x: str, pad: int = 1) -> str:
    """An integer sum that reaches 0 often."""
    return net.conv(net.op("Sign", x), net.signs(8, 8, 3, 3), pad)


def pooled(net: Net, x: str) -> str:
    return net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def shuffled(net: Net, x: str) -> str:
    x = net.op("Reshape", x, net.ints(2, 2, 4, 6, 6))
    x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    return net.op("Reshape", x, net.ints(*IMAGE))


def resized(net: Net, x: str) -> str:
    scales = net.constant(np.float32([1, 1, 2, 2]))
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.op("Resize", x, "", scales, mode="nearest", **options)


def padded(net: Net, x: str) -> str:
    return net.op("Pad", x, net.ints(0, 0, 1, 1, 0, 0, 1, 1), net.constant(0.0))


def twice(net: Net, x: str) -> str:
    """Nothing, by an operator that reads one tensor twice."""
    return net.op("Neg", net.op("Sub", x, x))


def slope(net: Net) -> str:
    return net.channels([0.25] * 8)


TIES: dict[str, Chain] = {
    "maxpool": lambda net, x: pooled(net, sums_of_signs(net, x)),
    "concat": lambda net, x: net.op(
        "Slice",
        net.op("Concat", sums_of_signs(net, x), net.bn(x, [1.5] * 8, 0.3), axis=1),
        *(net.ints(v) for v in (4, 12, 1)),
    ),
    "add": lambda net, x: net.op("Add", sums_of_signs(net, x), sums_of_signs(net, x)),
    "shuffle": lambda net, x: shuffled(net, sums_of_signs(net, x)),
    "average": lambda net, x: net.op("GlobalAveragePool", sums_of_signs(net, x)),
    "resize": lambda net, x: resized(net, sums_of_signs(net, x)),
    "pad": lambda net, x: padded(net, net.bn(x, [0.3] * 8, 0.7)),
    "relu": lambda net, x: net.op("Relu", net.op("Add", x, net.constant(-0.3))),
    "relu and pool": lambda net, x: pooled(net, net.op("Relu", sums_of_signs(net, x))),
    "round": lambda net, x: net.op("Round", net.op("Mul", x, net.constant(0.3))),
    "input and pool": pooled,
    "input and short weights": lambda net, x: net.conv(x, net.signs(8, 8, 3, 3)),
    "difference of itself": lambda net, x: net.op("Sub", x, x),
    "twice in a chain": lambda net, x: net.op("Add", x, twice(net, net.op("PRelu", x, slope(net)))),
    "leaky": lambda net, x: net.op("LeakyRelu", pooled(net, x), alpha=0.25),
}


@pytest.mark.parametrize("name", TIES)
def test_ties_are_onnx_own(name: str) -> None:
    net = Net(IMAGE)
    x = net.op("Sign", TIES[name](net, "input"))
    model = net.model(net.conv(x, net.signs(4, 8, 1, 1)))
    context = assert_same_bits(model)
    assert list(context.layers.values())[-1].lowering == "bitserial"


FREE: dict[str, Chain] = {
    "float convolution": lambda net, x: net.bn(float_conv(net, x), [0.7] * 8, 0.3, 0.1),
    "pooled": lambda net, x: pooled(net, net.bn(float_conv(net, x), [0.7] * 8, 0.3, 0.1)),
    "integer sum behind a trained normalisation": lambda net, x: pooled(
        net, net.bn(sums_of_signs(net, x), [0.731, -1.3] * 4, 0.3171, 1.37, 4.1)
    ),
    "a sum of two such": lambda net, x: net.op(
        "Add",
        net.bn(sums_of_signs(net, x), [0.731] * 8, 0.3171, 1.37, 4.1),
        net.op("Relu", net.bn(float_conv(net, x, 1), [0.7] * 8, 0.3, 0.1)),
    ),
}


def float_conv(net: Net, x: str, pad: int = 0) -> str:
    weight = net.rng.normal(size=(8, 8, 3, 3)).astype(np.float32)
    return net.conv(x, weight, pad)


@pytest.mark.parametrize("name", FREE)
def test_no_plane_is_paid_for_an_accident(name: str) -> None:
    net = Net(IMAGE)
    x = net.op("Sign", FREE[name](net, "input"))
    model = net.model(net.conv(x, net.signs(4, 8, 1, 1)))
    _, context = passes_until(model, "choose_lowering")
    last = list(context.layers.values())[-1]
    assert (last.lowering, last.N, last.reason) == ("bitserial", 1, "")


def at(grid: Any, value: float, channels: int = 2) -> list[bool]:
    here = np.full(channels, value, np.float32)
    return list(grid.hits(here, here))


def test_grids_hit_their_values_and_no_others() -> None:
    grid = sums(np.float32([0.5, 0.3]), np.array([4, 5]), True)  # even and odd multiples
    assert at(grid, 0) == [True, False] and at(grid, 1) == [True, False]
    assert at(grid, np.float32(3) * np.float32(0.3)) == [False, True]
    assert at(grid, 4.0) == [False, False]  # beyond the bound
    assert list(grid.hits(np.float32([-9, -9]), np.float32([9, 9]))) == [True, True]
    single = points(np.float32([1.5]))
    assert at(single, 1.5, 3) == [True] * 3 and at(single, 1.25) == [False] * 2


def test_grids_follow_the_graphs_own_arithmetic() -> None:
    grid = multiples(np.float32([0.1]), np.array([-9]), np.array([9]), aligned=False)
    scale, shift = np.float32([3.3, 1.7]), np.float32([0.7, -0.2])
    wide = [v.astype(np.float64) for v in (scale, shift)]
    found = mapped(grid, lambda x: x * scale + shift, *wide, 2)
    assert found is not None and found.aligned
    k = np.arange(-9, 10, dtype=np.float32)[:, None]
    values = k * np.float32(0.1) * scale + shift
    for row in values:
        assert found.hits(row, row).all()
        beside = np.nextafter(row, np.float32(np.inf))
        assert not found.hits(beside, beside).any()


def test_sums_of_grids() -> None:
    quarters = multiples(np.float32([0.25]), np.array([-4]), np.array([4]), aligned=False)
    halves = multiples(np.float32([0.5]), np.array([-4]), np.array([4]), aligned=False)
    (both,) = added(quarters, halves) or []
    assert at(both, 2.75)[0] and not at(both, 0.3)[0] and not at(both, 3.5)[0]
    odd = multiples(np.float32([0.371]), np.array([-4]), np.array([4]), aligned=False)
    (both,) = added(quarters, odd) or []
    assert at(both, 0)[0] and not at(both, 0.25)[0]  # only where both are 0


def test_common_units() -> None:
    assert common_unit(np.array([0.75, -0.5, 3.0])) == 0.25
    assert common_unit(np.array([3.0, 9.0, 0.0])) == 3.0
    assert np.isnan(common_unit(np.array([0.371, 0.5])))
    assert common_unit(np.zeros(3)) == 0


def test_nothing_is_at_nothing() -> None:
    zero = np.zeros(3, np.float32)
    assert not NOWHERE.at(zero, zero).any()
