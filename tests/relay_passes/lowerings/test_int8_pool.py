"""The largest code, or the code of the largest index, in whatever sense the reader wants."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.compute.int8_products import code_slots
from abc_tvm.relay_passes.lowerings.int8_pool import pool_kernel
from tests.relay_passes.kernel_runs import outputs_of, plain
from tests.relay_passes.lowerings.pool_cases import CASES, PoolCase


def stored(values: np.ndarray, case: PoolCase, dtype: str) -> np.ndarray:
    """``[B, H, W, G, S]`` of ``[B, H, W, C]``; slots past the last channel hold anything."""
    group = case.channels // case.groups
    rng = np.random.default_rng(0)
    out = rng.integers(-99, 99, (*values.shape[:3], case.groups, code_slots(group))).astype(dtype)
    out[..., :group] = values.reshape(*values.shape[:3], case.groups, group)
    return out


def of_channels(data: np.ndarray, case: PoolCase) -> np.ndarray:
    channels = data[..., : case.channels // case.groups]
    return channels.reshape(*data.shape[:3], case.channels)


@pytest.mark.parametrize(("codes", "dtype"), [((0, 7, 9, 255), "uint8"), ((-128, 0, 3), "int8")])
@pytest.mark.parametrize("name", CASES)
def test_indices_are_pooled_and_coded(name: str, codes: tuple[int, ...], dtype: str) -> None:
    case = CASES[name]
    codes = codes[: case.n + 1]
    if len(codes) <= case.n:
        codes = (*range(-5, -5 + case.n + 1 - len(codes)), *codes)
    raw = stored(case.index, case, dtype)
    lowered = pool_kernel(case.call("pool_int8", raw.shape[3:], dtype, codes=[*codes]), plain())
    (found,) = outputs_of(lowered, [raw])
    assert found.dtype == dtype
    np.testing.assert_array_equal(of_channels(found, case), np.array(codes)[case.wanted])


@pytest.mark.parametrize(
    ("codes", "dtype"), [((0, 7, 9, 255), "uint8"), ((-128, -9, 0, 3), "int8")]
)
@pytest.mark.parametrize("name", ["33 channels, padded", "dilated", "groups"])
def test_codes_are_pooled_as_they_are(name: str, codes: tuple[int, ...], dtype: str) -> None:
    """They rise with the level; padding is below every code, the lowest byte included."""
    case = CASES[name]
    raw = stored(np.array(codes)[case.index], case, dtype)
    lowered = pool_kernel(case.call("pool_int8", raw.shape[3:], dtype, codes=[]), plain())
    (found,) = outputs_of(lowered, [raw])
    largest = np.where(case.turned, case.n - case.wanted, case.wanted)
    np.testing.assert_array_equal(of_channels(found, case), np.array(codes)[largest])
    assert not lowered.constants


def test_the_plan() -> None:
    case = CASES["groups"]
    problem = pool_kernel(
        case.call("pool_int8", (2, 64), "uint8", codes=[]), plain(), 7
    ).plan.problem
    assert (problem.kind, problem.pairs, problem.window.batch) == ("pool_int8", 1, 7)
