"""Bits where they win, floats where they do not, and the row that says by how much."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.reference import weight_bases
from abc_tvm.relay_passes.choose_lowering import ChooseLowering
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    passes_until,
    two_layers,
)

ALPHA = np.float32([1, 0.43, 0.19, 0.083, 0.36])


def layer(M: int, N: int, channels: int = 32, uniform: bool = False) -> onnx.ModelProto:
    """One convolution of the paper's M bases on N steps, evenly spaced ones if ``uniform``."""
    net = Net((1, channels, 4, 4))
    weight = weight_bases(net.rng.normal(size=(64, channels, 3, 3)), M)
    bases = np.tensordot(ALPHA[:M], weight, 1).astype(np.float32)
    total = net.step("input", -0.5)
    for n in range(1, N):
        scale = net.constant(1.0 if uniform else 1 + n / 4)
        total = net.op("Add", total, net.op("Mul", net.step("input", n / 2), scale))
    return net.model(net.conv(total, bases))


@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 2), (4, 4), (5, 4)])
def test_bits_up_to_the_break_even(M: int, N: int) -> None:
    """One pair costs 1/23 of a float multiply-add on this device."""
    mod, context = passes_until(layer(M, N), "choose_lowering", "auto")
    (row,) = context.layers.values()
    assert (row.M, row.N, row.lowering, row.reason) == (M, N, "bitserial", "")
    assert len(calls(mod, "abc.bconv2d")) == 1
    assert row.weight_bytes == 64 * 9 * 4 * M


def test_refuses_too_many_pairs() -> None:
    mod, context = passes_until(layer(5, 5), "choose_lowering", "auto")
    (row,) = context.layers.values()
    assert row.lowering == "float" and "25 pairs of planes would take 1.1x" in row.reason
    assert "zen4" in row.reason and "force with" in row.reason
    assert len(calls(mod, "nn.conv2d")) == 1 and not calls(mod, "abc.bconv2d")
    assert row.weight_bytes == row.float_weight_bytes


def test_refuses_words_that_are_almost_empty() -> None:
    _, context = passes_until(layer(1, 1, channels=1), "choose_lowering", "auto")
    (row,) = context.layers.values()
    assert "1 pairs of planes on 1 channels of 32-bit words would take 1.4x" in row.reason


@pytest.mark.parametrize("model", [layer(5, 5), layer(1, 1, channels=1)])
def test_force(model: onnx.ModelProto) -> None:
    mod, context = passes_until(model, "choose_lowering", "bitserial")
    assert [row.lowering for row in context.layers.values()] == ["bitserial"]
    assert len(calls(mod, "abc.bconv2d")) == 1


def test_uniform_levels_count_as_log2_planes() -> None:
    _, context = passes_until(layer(5, 5, uniform=True), "choose_lowering", "auto")
    (row,) = context.layers.values()
    assert (row.lowering, row.reason) == ("bitserial", "5 thresholds in 3 planes")


def test_golden() -> None:
    check_golden("choose_lowering_float", passes_until(layer(5, 5), "choose_lowering", "auto")[0])


@pytest.mark.parametrize("lowering", ["auto", "bitserial"])
def test_numbers(lowering: str) -> None:
    """Four channels are too few for a word: ``auto`` is float, with the very same bits."""
    context = assert_same_bits(two_layers(), lowering)
    kinds = {row.lowering for row in context.layers.values()}
    assert kinds == ({"bitserial"} if lowering == "bitserial" else kinds)


@pytest.mark.parametrize("lowering", ["auto", "bitserial"])
def test_again_changes_nothing(lowering: str) -> None:
    once, context = passes_until(two_layers(), "choose_lowering", lowering)
    assert_equal_ir(ChooseLowering(context)(once), once)


def test_comparing_with_many_thresholds_counts_too() -> None:
    """An 8-bit input on few output channels: the 255 comparisons outweigh the convolution."""
    net = Net((1, 32, 4, 4))
    scaled = net.op("Mul", "input", net.constant(100.0))
    clipped = net.op("Clip", scaled, net.constant(0.0), net.constant(255.0))
    weight = np.sign(net.rng.normal(size=(4, 32, 3, 3))).astype(np.float32)
    model = net.model(net.conv(net.op("Round", clipped), weight))
    _, context = passes_until(model, "choose_lowering", "auto")
    (row,) = context.layers.values()
    assert row.lowering == "float" and "8 pairs of planes behind 255 thresholds" in row.reason
