"""Bits where they win, floats where they do not, and the row that says by how much."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm import targets
from abc_tvm.frontend import import_onnx
from abc_tvm.reference import weight_bases
from abc_tvm.relay_passes.context import Context, LayerRow
from abc_tvm.relay_passes.passes.choose_lowering import ChooseLowering
from abc_tvm.relay_passes.rewrite import array_of
from tests.relay_passes.harness import (
    DEVICE,
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    check_golden,
    continue_passes,
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


def row_of(context: Context) -> LayerRow:
    (row,) = context.layers.values()
    return row


@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 2), (4, 4), (5, 4)])
def test_bits_up_to_the_break_even(M: int, N: int) -> None:
    """One pair costs 1/23 of a float multiply-add on this device, a product of bytes 1/4."""
    mod, context = passes_until(layer(M, N), "choose_lowering", "auto")
    row = row_of(context)
    assert (row.M, row.N, row.lowering) == (M, N, "bitserial")
    assert ("int8 would take" in row.reason and "--allow-int8" in row.reason) == (M * N > 9)
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
    assert row.lowering == "bitserial" and row.reason.startswith("5 thresholds in 3 planes")


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


# ---- bytes ----------------------------------------------------------------------------


def on_a_grid(M: int, N: int, channels: int = 32) -> onnx.ModelProto:
    """Scales of 1, 2, 3 ... and levels of evenly spaced steps: everything is an integer."""
    net = Net((1, channels, 4, 4))
    bases = net.signs(M, 64, channels, 3, 3)
    weight = np.tensordot(np.arange(1, M + 1, dtype=np.float32), bases, 1).astype(np.float32)
    total = net.step("input", -0.5)
    for n in range(1, N):
        total = net.op("Add", total, net.step("input", n / 2))
    return net.model(net.conv(total, weight, 1))


def chosen(model: onnx.ModelProto, lowering: str, device: str, most: float | None) -> Context:
    context = Context(targets.load(device), lowering, allow_int8=most)
    continue_passes(import_onnx(model), context, "canonicalise", "choose_lowering")
    return context


@pytest.mark.parametrize(("M", "N", "lowering"), [(1, 2, "bitserial"), (3, 3, "int8")])
def test_bytes_where_they_are_exact_and_faster(M: int, N: int, lowering: str) -> None:
    row = row_of(chosen(on_a_grid(M, N), "auto", DEVICE, None))
    assert (row.lowering, row.error_bound) == (lowering, 0.0 if lowering == "int8" else None)
    if lowering == "int8":
        assert "exact" in row.reason and row.weight_bytes == 64 * 9 * 32


def test_no_bytes_without_dot_products() -> None:
    row = row_of(chosen(on_a_grid(3, 3), "int8", "haswell", 0.5))
    assert (row.lowering, row.error_bound) == ("bitserial", None)


def test_rounding_needs_the_users_word() -> None:
    model = layer(5, 5)
    alone = row_of(chosen(model, "auto", DEVICE, None))
    assert alone.lowering == "float" and "--allow-int8" in alone.reason
    allowed = row_of(chosen(model, "auto", DEVICE, 0.02))
    assert allowed.lowering == "int8" and allowed.error_bound is not None
    assert 0 < allowed.error_bound <= 0.02 and "rounded by at most" in allowed.reason
    strict = row_of(chosen(model, "auto", DEVICE, allowed.error_bound / 2))
    assert strict.lowering == "float" and "more than the" in strict.reason


def test_rounded_layers_get_their_own_scales_and_levels() -> None:
    """The float weights stay, and the step that others may read."""
    context = Context(targets.load(DEVICE), "auto", allow_int8=0.02)
    start = continue_passes(
        import_onnx(layer(5, 5)), Context(context.device), "canonicalise", "recognise_activations"
    )
    found = continue_passes(import_onnx(layer(5, 5)), context, "canonicalise", "choose_lowering")
    (before,), (after,) = calls(start, "abc.bconv2d"), calls(found, "abc.bconv2d")
    plain, moved = (array_of(call.args[2]) for call in (before, after))
    assert not np.array_equal(plain, moved)
    np.testing.assert_allclose(moved, plain, atol=0.02 * np.abs(plain).max())
    np.testing.assert_array_equal(array_of(before.args[3]), array_of(after.args[3]))
    check_golden("choose_lowering_int8", found)
    assert_equal_ir(ChooseLowering(context)(found), found)
