"""OR of thermometer bits is the index's maximum, in whatever code and sense the reader wants."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.relay_passes.lowerings.bitserial_pool import pool_kernel
from abc_tvm.relay_passes.lowerings.codec import patterns
from tests.relay_passes.kernel_runs import outputs_of, plain
from tests.relay_passes.lowerings.pool_cases import CASES
from tests.schedules.window_cases import pack


def packed(index: np.ndarray, code: str, planes: int, groups: int) -> np.ndarray:
    """uint32 ``[B, H, W, P, G, words]`` of an index ``[B, H, W, C]``."""
    bits = np.moveaxis(patterns(code, planes)[index], -1, 3)
    return pack(bits.reshape(*bits.shape[:4], groups, -1))


@pytest.mark.parametrize("code", ["thermometer", "binary"])
@pytest.mark.parametrize("name", CASES)
def test_pooled_bits(name: str, code: str) -> None:
    case = CASES[name]
    planes = case.n if code == "thermometer" else int(case.n).bit_length()
    raw = packed(case.index, "thermometer", case.n, case.groups)
    attrs = {"code": code, "planes": planes}
    call = case.call("pool_bitserial", raw.shape[3:], "uint32", **attrs)
    lowered = pool_kernel(call, plain())
    (found,) = outputs_of(lowered, [raw])
    wanted = packed(case.wanted, code, planes, case.groups)
    assert found.dtype == np.uint32 and found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted, "bits past the last channel are 0, as everywhere")


def test_the_plan_has_the_planes_that_are_read() -> None:
    case = CASES["groups"]
    call = case.call("pool_bitserial", (2, 2, 2), "uint32", code="binary", planes=2)
    problem = pool_kernel(call, plain(), batch=7).plan.problem
    assert (problem.kind, problem.pairs, problem.window.batch) == ("pool_bitserial", 2, 7)
    assert (problem.blocking.channels, problem.blocking.groups) == (66, 2)
