"""M times N convolutions spelled out become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.passes.collapse_bases import CollapseBases
from tests.relay_passes.harness import (
    Net,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
)


def spelled(
    alpha: Any, beta: list[float], where: str = "outside", groups: int = 1, **geometry: Any
) -> onnx.ModelProto:
    """``sum_mn alpha_m beta_n Conv(A_n, B_m) + bias``; ``where`` the factors are written."""
    net = Net((1, 4, 5, 5))
    planes = [net.step("input", n / 2) for n in range(len(beta))]
    terms = []
    for a in alpha:
        basis = net.signs(6, 4 // groups, 3, 3)
        a = np.broadcast_to(np.float32(a), 6)
        for plane, b in zip(planes, beta, strict=True):
            if where == "weights":
                weight = (a * np.float32(b))[:, None, None, None] * basis
                terms.append(net.conv(plane, weight, group=groups, **geometry))
                continue
            y = net.conv(plane, basis, group=groups, **geometry)
            terms.append(net.op("Mul", y, net.channels(a * np.float32(b))))
    total = terms[0]
    for term in terms[1:]:
        total = net.op("Add", total, term)
    return net.model(net.op("Add", total, net.channels(np.arange(6) / 4)))


SPELLED: dict[str, onnx.ModelProto] = {
    "outside": spelled([0.5, 0.25], [1.0, 0.5]),
    "weights": spelled([0.5, 0.25], [1.0, 0.5], "weights"),
    "negative": spelled([0.5, -0.125], [1.0, -0.5, 0.75]),
    "per_channel": spelled([np.arange(1, 7) / 8, np.arange(6, 0, -1) / 4], [1.0, 0.5]),
    "padded": spelled([0.5, 0.25], [1.0, 0.5], pad=1),
    "strided_groups": spelled([0.5, 0.25], [1.0], groups=2, strides=[2, 2]),
    "one_term": spelled([0.5], [1.0, 0.25]),
}


@pytest.mark.parametrize("name", SPELLED)
def test_fires(name: str) -> None:
    mod, context = passes_until(SPELLED[name], "collapse_bases")
    assert len(calls(mod, "nn.conv2d")) == 1
    mod, context = passes_until(SPELLED[name], "fold_thresholds")
    M = 1 if name == "one_term" else 2
    N = {"negative": 3, "strided_groups": 1}.get(name, 2)
    assert [(row.M, row.N) for row in context.layers.values()] == [(M, N)]


def test_subtraction_division_and_negation() -> None:
    net = Net((1, 4, 5, 5))
    x = net.step("input")
    first, second, third = (net.conv(x, net.signs(6, 4, 3, 3)) for _ in range(3))
    total = net.op("Sub", first, net.op("Div", second, net.constant(2.0)))
    model = net.model(net.op("Add", total, net.op("Neg", net.op("Mul", third, net.constant(0.25)))))
    mod, _ = passes_until(model, "collapse_bases")
    assert len(calls(mod, "nn.conv2d")) == 1
    assert_same_bits(model)


def pair(kind: str) -> onnx.ModelProto:
    """Two convolutions added that cannot become one."""
    net = Net((1, 4, 6, 6))
    x = net.step("input")
    first = net.conv(x, net.signs(6, 4, 3, 3), 1)
    if kind == "geometry":
        second = net.conv(x, net.signs(6, 4, 1, 1))
    elif kind == "float weights":
        second = net.conv(x, net.rng.normal(size=(6, 4, 3, 3)).astype(np.float32), 1)
    elif kind == "weights too different in size":
        second = net.op("Mul", net.conv(x, net.signs(6, 4, 3, 3), 1), net.constant(0.99999))
    elif kind == "factor per pixel":
        second = net.conv(x, net.signs(6, 4, 3, 3), 1)
        second = net.op("Mul", second, net.constant(np.arange(36).reshape(6, 6) / 4))
    elif kind == "read twice":
        second = net.conv(x, net.signs(6, 4, 3, 3), 1)
        return net.model(net.op("Add", net.op("Add", first, second), net.op("Relu", second)))
    else:
        second = net.conv(net.step("input", 0.5), net.signs(6, 4, 3, 3), 1)
    return net.model(net.op("Add", first, second))


@pytest.mark.parametrize(
    "kind",
    [
        "geometry",
        "float weights",
        "weights too different in size",
        "factor per pixel",
        "read twice",
        "other weights",
    ],
)
def test_refuses(kind: str) -> None:
    mod, _ = passes_until(pair(kind), "collapse_bases")
    assert len(calls(mod, "nn.conv2d")) == 2


@pytest.mark.parametrize("name", ["outside", "padded"])
def test_golden(name: str) -> None:
    check_golden(f"collapse_bases_{name}", passes_until(SPELLED[name], "collapse_bases")[0])


@pytest.mark.parametrize("name", SPELLED)
def test_numbers(name: str) -> None:
    assert_same_bits(SPELLED[name])


@pytest.mark.parametrize("name", SPELLED)
def test_again_changes_nothing(name: str) -> None:
    once, _ = passes_until(SPELLED[name], "collapse_bases")
    assert CollapseBases()(once) is once
