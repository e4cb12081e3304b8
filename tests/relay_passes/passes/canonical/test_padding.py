"""Padding in NHWC, wherever it is written, and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from abc_tvm.relay_passes.passes.canonicalise import Canonicalise
from tests.relay_passes.harness import (
    Net,
    assert_equal_ir,
    assert_same_bits,
    calls,
    passes_until,
)


def model(widths: list[int], native: bool = False) -> Any:
    """A Pad by 0.5 between two float convolutions, in NCHW or in NHWC between Transposes."""
    net = Net((2, 3, 5, 5))
    x = net.conv("input", net.signs(4, 3, 1, 1))
    x = net.op("Transpose", x, perm=[0, 2, 3, 1]) if native else x
    x = net.op("Pad", x, net.ints(*widths), net.constant(0.5))
    x = net.op("Transpose", x, perm=[0, 3, 1, 2]) if native else x
    at = 3 if native else 1
    return net.model(net.conv(x, net.signs(4, 4 + widths[at] + widths[at + 4], 3, 3)))


@pytest.mark.parametrize(
    ("widths", "native"),
    [([0, 0, 1, 2, 0, 0, 3, 0], False), ([0, 1, 2, 0, 0, 3, 0, 0], True)],
)
def test_rows_and_columns(widths: list[int], native: bool) -> None:
    graph = model(widths, native)
    mod, _ = passes_until(graph, "canonicalise")
    (pad,) = calls(mod, "nn.pad")
    assert [int(n) for n in pad.attrs.pad_width] == [0, 0, 1, 3, 2, 0, 0, 0]
    assert len(calls(mod, "permute_dims")) == 2, "of the input and of the output"
    assert_equal_ir(Canonicalise()(mod), mod)
    assert_same_bits(graph)


@pytest.mark.parametrize("native", [False, True])
def test_channels_are_padded_as_the_graph_does(native: bool) -> None:
    graph = model([0, 0, 1, 1, 0, 0, 1, 1] if native else [0, 1, 1, 0, 0, 0, 1, 0], native)
    mod, _ = passes_until(graph, "canonicalise")
    assert not calls(mod, "nn.pad") and len(calls(mod, "call_tir")) == 1
    assert_same_bits(graph)
