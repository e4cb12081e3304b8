"""Weights and activations of eight bits on bytes, against onnxruntime to the bit.

Scales are powers of two, so that float32 sums are exact in any order; others in the last test.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime import quantization

from abc_tvm.checks.opinion.guard import STRICT
from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.end_to_end.test_padded_levels import has_dots
from tests.relay_passes.harness import Net

SCALES = np.float32([2.0**-k for k in (5, 6, 7, 8)])


def weights(net: Net, out: int, channels: int, kernel: int, by_channel: bool) -> np.ndarray:
    """Multiples of -128 to 127 of a scale for each channel, or one for all."""
    whole = net.rng.integers(-128, 128, (out, channels, kernel, kernel))
    whole[0, 0, 0, 0] = -128
    scales = np.resize(SCALES, out) if by_channel else np.full(out, SCALES[0])
    return (whole * scales[:, None, None, None]).astype(np.float32)


def quantized(net: Net, x: str, scale: float, zero: int, signed: bool = False) -> str:
    """QuantizeLinear and DequantizeLinear."""
    point = net.constant(np.array(zero), np.int8 if signed else np.uint8)
    scales = net.constant(np.float32(scale))
    return net.op("DequantizeLinear", net.op("QuantizeLinear", x, scales, point), scales, point)


CASES: list[dict[str, object]] = [
    {"channels": c, "zero": z, "by_channel": b}
    for c in (1, 3, 31, 32, 33) for z in (0, 113, 255) for b in (False, True)
    if not (c in (31, 32) and z == 255)
] + [
    {"channels": 8, "zero": -5, "signed": True},
    {"channels": 8, "zero": 7, "groups": 2},
    {"channels": 8, "zero": 7, "strides": 2},
    {"channels": 8, "zero": 7, "relu": True, "by_channel": True},
    {"channels": 8, "zero": 0, "gamma": True},
]  # fmt: skip


@pytest.mark.sweep("case", short=CASES[::3] + CASES[-5:], full=CASES)
@pytest.mark.parametrize("lowering", ["int8", "auto", "bitserial"])
def test_two_layers(
    case: dict[str, object], lowering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second reads sums of the first behind 255 thresholds of its own for each channel."""
    monkeypatch.setenv(STRICT, "error")
    channels, zero, groups = int(case["channels"]), int(case["zero"]), int(case.get("groups", 1))
    by_channel, signed = bool(case.get("by_channel")), bool(case.get("signed"))
    net = Net((2, channels, 7, 6))
    x = quantized(net, "input", 2.0**-5, zero, signed)
    first = weights(net, 6, channels // groups, 3, by_channel)
    x = net.conv(x, first, 1, group=groups, strides=[int(case.get("strides", 1))] * 2)
    x = net.op("Add", x, net.channels(np.arange(6) / 4 - 1))
    if case.get("gamma"):
        x = net.op("Mul", x, net.channels([1, -0.5, 2, -1, 0, 0.25]))
    x = net.op("Relu", x) if case.get("relu") else x
    x = quantized(net, x, 0.5, 100)
    model = net.model(net.conv(x, weights(net, 5, 6, 3, by_channel)))
    data = (net.rng.integers(-130, 130, (2, channels, 7, 6)) / 32).astype(np.float32)
    made = Compiled(model, lowering)
    assert_equal(made.run({"input": data}), reference(model, {"input": data}), True, case)
    if lowering == "int8" and has_dots():
        assert [row.lowering for row in made.layers] == ["int8", "int8"]


class Images(quantization.CalibrationDataReader):
    """Three random images."""

    def __init__(self) -> None:
        self.rest = [np.random.default_rng(k).standard_normal((1, 3, 12, 12)) for k in range(3)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"input": self.rest.pop().astype(np.float32)} if self.rest else None


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("kind", ["QUInt8", "QInt8"])
def test_what_onnxruntime_quantizes(
    by_channel: bool, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own static quantization of a float network: every layer on bytes, the same numbers."""
    monkeypatch.setenv(STRICT, "error")
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(0)
    net = Net((1, 3, 12, 12))
    x = "input"
    for out, inside, stride in ((16, 3, 1), (24, 16, 2), (24, 24, 1)):
        size = (2 / (9 * inside)) ** 0.5
        kernel = net.constant(rng.standard_normal((out, inside, 3, 3)) * size)
        bias = net.constant(rng.standard_normal(out) / 8)
        x = net.op("Conv", x, kernel, bias, kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2)
        x = net.op("Relu", x)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.op("MatMul", x, net.constant(rng.standard_normal((24, 5)) / 4))
    onnx.save(net.model(x), tmp_path / "float.onnx")
    quantization.quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "bytes.onnx",
        Images(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=by_channel,
        activation_type=getattr(quantization.QuantType, kind),
        weight_type=quantization.QuantType.QInt8,
    )
    logging.disable(logging.NOTSET)
    model = onnx.load(tmp_path / "bytes.onnx")
    made = Compiled(model, "int8")
    if has_dots():
        assert {row.lowering for row in made.layers} == {"int8"}
    for seed in range(3):
        data = np.random.default_rng(9 + seed).standard_normal((1, 3, 12, 12)).astype(np.float32)
        (found,), (wanted,) = made.run({"input": data}), reference(model, {"input": data})
        # Outputs are quantized: where a sum rounds to the other side, by one step of 255.
        assert np.abs(found - wanted).max() <= 2 / 255 * np.abs(wanted).max()
        assert np.mean(found == wanted) >= 0.6
