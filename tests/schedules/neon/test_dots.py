"""Convolutions on bytes by ``sdot``, compiled for a Raspberry Pi 5 and run in emulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abc_tvm.schedules.neon.float_kernel import FloatKernel
from abc_tvm.targets import load
from tests import emulated
from tests.schedules.byte_cases import CASES, check


@pytest.mark.parametrize("case", CASES, ids=str)
def test_byte_convolution(case: dict[str, Any], rng: np.random.Generator) -> None:
    device = load("rpi5")
    emulated.need(device.triple)
    check(case, device, rng, lambda func, args: emulated.call(func, args, device))


def test_the_loop_is_that_of_floats_with_another_instruction() -> None:
    kernels = [FloatKernel((0, 16), (0, 64), (0, 128), 4, 4, False, dot) for dot in (False, True)]
    plain, dot = (kernel.assembly() for kernel in kernels)
    assert len(plain) == len(dot)
    changed = {(a.split()[0], b.split()[0]) for a, b in zip(plain, dot, strict=True) if a != b}
    assert changed == {("fmla", "sdot")}
    assert kernels[0].name != kernels[1].name
