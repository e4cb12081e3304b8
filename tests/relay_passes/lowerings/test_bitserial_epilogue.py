"""The index of a step as packed bits, thermometer or binary, of either sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.relay_passes.analysis.steps.even_steps import MANY
from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction
from abc_tvm.relay_passes.lowerings.codec import patterns
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.kernel_runs import run
from tests.relay_passes.relax_graph import image
from tests.schedules.window_cases import pack

CASES = [(1, 1), (31, 1), (32, 1), (33, 1), (6, 2), (66, 2)]


def bits_and_index(
    channels: int, groups: int, code: str, n: int, sense: Any
) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel writes, and the index by NumPy; channels have thresholds of their own."""
    rng = np.random.default_rng(channels)
    thresholds = np.sort(rng.integers(-6, 7, (n, channels)) / np.float32(4), axis=0)
    if n >= MANY:  # of a uniform quantizer: counted
        thresholds = np.float32((np.arange(n)[:, None] - n / 2) / rng.uniform(n / 8, n, channels))
    data = (rng.integers(-8, 9, (1, 5, 5, channels)) / 4).astype(np.float32)
    turns = np.where(rng.random(channels) < 0.5, 1, -1) if sense == "both" else sense
    senses = np.broadcast_to(np.int8(turns), channels).copy()
    planes = n if code == "thermometer" else int(n).bit_length()
    facts = {"code": code, "planes": planes, "layout_groups": groups, "count": 0}
    x = image("x", channels)
    call = make("encode_bitserial", [x, const(thresholds), const(senses)], **facts)
    (found,) = run([x], [data], lambda bind: bind(call, "bits"))
    index = StepFunction(thresholds, senses, np.arange(n + 1))(data)
    return found, index


@pytest.mark.parametrize(("channels", "groups"), CASES)
@pytest.mark.parametrize(
    ("code", "n"),
    [("thermometer", 1), ("thermometer", 2), ("binary", 3), ("binary", 5), ("binary", 63)],
)
def test_bits_of_the_index(channels: int, groups: int, code: str, n: int) -> None:
    """The very words: bits past the last channel are 0, in turned channels' words too."""
    found, index = bits_and_index(channels, groups, code, n, "both")
    planes = found.shape[3]
    bits = np.moveaxis(patterns(code, planes)[index], -1, 3)
    wanted = pack(bits.reshape(*bits.shape[:4], groups, -1))
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("code", ["thermometer", "binary"])
def test_all_channels_in_one_sense(code: str, sense: int) -> None:
    found, index = bits_and_index(33, 1, code, 3, sense)
    bits = np.moveaxis(patterns(code, found.shape[3])[index], -1, 3)
    np.testing.assert_array_equal(found[:, :, :, :, 0], pack(bits))
