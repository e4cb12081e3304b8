"""Every fused group becomes one scheduled PrimFunc, with the bits of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.passes.lower import Lower
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


def layer(channels: int, out_channels: int, **geometry: Any) -> onnx.ModelProto:
    """One binary convolution between float tensors."""
    net = Net((2, channels, 7, 6))
    size = geometry.pop("size", (3, 3))
    M = geometry.pop("M", 1)
    weight = np.tensordot(
        np.float32([1, 0.5, 0.25][:M]),
        net.signs(M, out_channels, channels // geometry.get("group", 1), *size),
        1,
    )
    return net.model(net.conv(net.step("input", 0.25), weight, **geometry))


GRID: list[tuple[int, int, dict[str, Any]]] = [
    (1, 1, {}),
    (31, 33, {}),
    (32, 32, {"pad": 1}),
    (33, 5, {"pad": 2, "strides": [2, 1]}),
    (4, 8, {"dilations": [2, 2], "pad": 1}),
    (6, 9, {"group": 3, "pad": 1}),
    (64, 64, {"group": 2}),
    (5, 7, {"M": 3, "pad": 1}),
    (8, 3, {"size": (1, 1), "M": 2}),
    (3, 4, {"size": (2, 5), "pad": 3}),
]


@pytest.mark.parametrize(("channels", "out_channels", "geometry"), GRID)
def test_numbers(channels: int, out_channels: int, geometry: dict[str, Any]) -> None:
    assert_same_bits(layer(channels, out_channels, **dict(geometry)))


def primfuncs(mod: tvm.IRModule) -> list[str]:
    return sorted(
        g.name_hint for g, f in mod.functions_items() if not isinstance(f, relax.Function)
    )


def test_fires_once_a_group() -> None:
    mod, _ = passes_until(two_layers(pool=True), "lower")
    assert primfuncs(mod) == ["kernel_bits", "kernel_conv_0", "kernel_conv_1", "pool_bitserial"]
    assert [g.name_hint for g, f in mod.functions_items() if isinstance(f, relax.Function)] == [
        "main"
    ]
    assert len(calls(mod, "call_tir")) == 4
    for gone in ("abc.encode_bitserial", "abc.bitserial_conv2d", "abc.pool_bitserial"):
        assert not calls(mod, gone)


def test_refuses_nothing_but_what_has_no_kernel() -> None:
    """Operators that no group took are left for TVM's own kernels."""
    net = Net((1, 4, 6, 6))
    x = net.conv(net.step("input"), net.signs(4, 4, 3, 3))
    model = net.model(net.op("AveragePool", x, kernel_shape=[2, 2]))
    mod, _ = passes_until(model, "lower")
    assert len(calls(mod, "nn.avg_pool2d")) == 1
    assert_same_bits(model)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_symbolic_batch_stays_symbolic(batch: int) -> None:
    model = two_layers(symbolic=True, pad=1)
    run, _ = compiled(model)
    x = (np.random.default_rng(0).integers(-8, 9, (batch, 4, 6, 6)) / 4).astype(np.float32)
    np.testing.assert_array_equal(run(x), onnxruntime_output(model, x))


def test_real_scales_agree_up_to_rounding() -> None:
    """E3: float32 arithmetic of the same real expression."""
    net = Net((2, 24, 6, 6))
    weight = np.tensordot(np.float32([0.61, 0.23]), net.signs(2, 40, 24, 3, 3), 1)
    x = net.op("Add", net.step("input"), net.op("Mul", net.step("input", 1.0), net.constant(0.37)))
    model = net.model(net.conv(x, weight, 1))
    data = np.random.default_rng(0).normal(size=(2, 24, 6, 6)).astype(np.float32)
    found, wanted = compiled(model)[0](data), onnxruntime_output(model, data)
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max() * 10


def test_golden() -> None:
    """``main`` only: the kernels are the schedules' business."""
    check_golden("lower_pool", passes_until(two_layers(pool=True), "lower")[0])


def test_again_changes_nothing() -> None:
    once, context = passes_until(two_layers(pool=True), "lower")
    assert_equal_ir(Lower(context)(once), once)
