"""Kernels that are not ours: the same result, vectors where they pay."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from abc_tvm.schedules.generic import FEW, VECTOR, schedule_any
from abc_tvm.targets import load


def to_channels_last(channels: int, height: int, width: int) -> tirx.PrimFunc:
    x = te.placeholder((2, channels, height, width), "float32", name="x")
    y = te.compute((2, height, width, channels), lambda b, h, w, c: x[b, c, h, w], name="transpose")
    return te.create_prim_func([x, y])


@pytest.mark.parametrize("channels", [1, 2, FEW - 1, FEW, VECTOR - 1, VECTOR, VECTOR + 1, 32])
@pytest.mark.parametrize("width", [1, 7, 33])
def test_channels_last(channels: int, width: int, rng: np.random.Generator) -> None:
    module = tvm.compile(
        schedule_any(to_channels_last(channels, 5, width)), load("native").tvm_target()
    ).jit()
    x = rng.standard_normal((2, channels, 5, width)).astype(np.float32)
    y = tvm.runtime.tensor(np.zeros((2, 5, width, channels), np.float32))
    module["main"](tvm.runtime.tensor(x), y)
    np.testing.assert_array_equal(y.numpy(), x.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(("channels", "vectors"), [(FEW - 1, False), (FEW, True), (VECTOR, True)])
def test_few_channels_are_no_vector(channels: int, vectors: bool) -> None:
    func = schedule_any(to_channels_last(channels, 5, 8))
    assert ("T.vectorized" in func.script()) is vectors
