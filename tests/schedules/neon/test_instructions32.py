"""Instructions of 32-bit NEON in the machine code of a kernel, and what packing means."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tvm
from tvm import te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.lanes import Blocking
from abc_tvm.compute.outputs import bit_output
from abc_tvm.schedules.neon.instructions32 import TABLE
from abc_tvm.schedules.processor.intrinsics import lower_lanes
from abc_tvm.schedules.scheduler import scheduler_of
from abc_tvm.targets import load
from tests import emulated
from tests.schedules.neon.cases import scheduled_of
from tests.schedules.window_cases import bit_case, bits_of, placeholder


def test_a_count_is_three_instructions_and_widening_two() -> None:
    device = load("rpi-armv7")
    case = bit_case(0, size=(4, 4), channels=(32, 32))
    func = scheduled_of(scheduler_of(device), case, Tile(1, 1, 1, 1))
    module = tvm.compile(func, device.tvm_target())
    lines = str(getattr(module, "mod", module).inspect_source("asm")).splitlines()
    names = [match[1] for line in lines if (match := re.match(r"\s+(v\w+\.\w+)", line))]
    counted = names.count("vcnt.8")
    assert counted and counted % 8 == 0  # eight registers of lanes
    assert names.count("vpaddl.u8") >= counted
    assert names.count("vpadal.u16") + names.count("vpaddl.u16") >= counted


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 64])
def test_truth_values_are_packed_by_pairwise_additions(
    channels: int, rng: np.random.Generator
) -> None:
    device, blocking = load("rpi-armv7"), Blocking(channels)
    values = rng.integers(-2, 3, (1, 1, 2, 1, blocking.blocks, 32)).astype(np.int32)
    x = placeholder("x", values)
    out = bit_output("y", 1, 1, 2, blocking, lambda p, at: x[at] > p, 2)
    plain = te.create_prim_func([x, out])
    func = lower_lanes(plain, TABLE)
    assert "llvm.arm.neon.vpaddlu" in func.script() and "vpaddlu" not in plain.script()
    empty = np.zeros([int(n) for n in out.shape], np.uint32)
    words = emulated.call(func, [values, empty], device)[-1]
    flat = values.reshape(1, 1, 2, -1)[..., :channels]
    for p in range(2):
        np.testing.assert_array_equal(bits_of(words[:, :, :, p], blocking), flat > p)


def test_what_clears_the_sums_is_left() -> None:
    """It has their role, but no sum to add to."""
    case = bit_case(0, size=(4, 4), channels=(64, 32), kernel=(3, 3))
    text = scheduled_of(scheduler_of(load("rpi-armv7")), case, Tile(1, 1, 1, 2)).script()
    lines = [line.strip() for line in text.splitlines()]
    assert any(re.match(r"acc\[.*\] = 0$", line) for line in lines)
    assert any(re.match(r"acc\[.*\] = acc.*vpaddlu", line) for line in lines)
