"""Kernels of any arithmetic: what they can address, and that loads run ahead within bounds."""

from __future__ import annotations

import re

import pytest

from abc_tvm.schedules.neon.bit_kernel import BitKernel
from abc_tvm.schedules.neon.microkernel import LONGEST, reachable
from tests.schedules.neon.kernels import bits, inner


def test_pixels_too_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="too far apart"):
        BitKernel((0,), (0,) * 4, (0, 70_000, 0, 0), 4, False).assembly()
    assert not reachable(range(0, 6 * 70_000, 70_000))
    assert reachable(range(0, 5 * 70_000, 70_000))


def test_equal_kernels_share_a_name() -> None:
    assert bits(4, 4).name == bits(4, 4).name != bits(4, 4, dot=True).name


@pytest.mark.parametrize("steps", [1, 2, 5, 7, 9, 12, 31, 36])
def test_a_turn_is_the_most_steps_that_divide_the_reduction(steps: int) -> None:
    kernel = bits(4, 4, steps)
    assert steps % kernel.unrolled == 0
    assert all(steps % n for n in range(kernel.unrolled + 1, LONGEST + 1))
    counted = [line for line in inner(kernel) if line.startswith("subs")]
    assert counted == [f"subs x16, x16, #{kernel.unrolled}"]


@pytest.mark.parametrize("steps", [1, 7, 18])
def test_loads_ahead_of_the_last_step_find_the_last_step(steps: int) -> None:
    """The table of offsets goes on behind the last step, as far as loads run ahead."""
    kernel = bits(2, 4, steps)
    [table] = re.findall(r"constant \[\d+ x i32\] \[(.*?)\]", kernel.llvm())
    offsets = [int(n) for n in re.findall(r"i32 (\d+)", table)]
    assert offsets[:steps] == [16 * n for n in range(steps)]
    assert len(offsets) >= steps + kernel.unrolled + 1
    assert set(offsets[steps:]) == {16 * (steps - 1)}
