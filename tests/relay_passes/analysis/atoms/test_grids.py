"""Grids hold the values that they stand for, to the last bit, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np

from abc_tvm.relay_passes.analysis.atoms.grids import (
    added,
    common_unit,
    mapped,
    multiples,
    points,
    sums,
)


def at(grid: Any, value: float, channels: int = 2) -> list[bool]:
    here = np.full(channels, value, np.float32)
    return list(grid.hits(here, here))


def test_grids_hit_their_values_and_no_others() -> None:
    grid = sums(np.float32([0.5, 0.3]), np.array([4, 5]), True)  # even and odd multiples
    assert at(grid, 0) == [True, False] and at(grid, 1) == [True, False]
    assert at(grid, np.float32(3) * np.float32(0.3)) == [False, True]
    assert at(grid, 4.0) == [False, False]  # beyond the bound
    assert list(grid.hits(np.float32([-9, -9]), np.float32([9, 9]))) == [True, True]
    single = points(np.float32([1.5]))
    assert at(single, 1.5, 3) == [True] * 3 and at(single, 1.25) == [False] * 2


def test_grids_follow_the_graphs_own_arithmetic() -> None:
    grid = multiples(np.float32([0.1]), np.array([-9]), np.array([9]), aligned=False)
    scale, shift = np.float32([3.3, 1.7]), np.float32([0.7, -0.2])
    wide = [v.astype(np.float64) for v in (scale, shift)]
    found = mapped(grid, lambda x: x * scale + shift, *wide, 2)
    assert found is not None and found.aligned
    k = np.arange(-9, 10, dtype=np.float32)[:, None]
    values = k * np.float32(0.1) * scale + shift
    for row in values:
        assert found.hits(row, row).all()
        beside = np.nextafter(row, np.float32(np.inf))
        assert not found.hits(beside, beside).any()


def test_sums_of_grids() -> None:
    quarters = multiples(np.float32([0.25]), np.array([-4]), np.array([4]), aligned=False)
    halves = multiples(np.float32([0.5]), np.array([-4]), np.array([4]), aligned=False)
    (both,) = added(quarters, halves) or []
    assert at(both, 2.75)[0] and not at(both, 0.3)[0] and not at(both, 3.5)[0]
    odd = multiples(np.float32([0.371]), np.array([-4]), np.array([4]), aligned=False)
    (both,) = added(quarters, odd) or []
    assert at(both, 0)[0] and not at(both, 0.25)[0]  # only where both are 0


def test_common_units() -> None:
    assert common_unit(np.array([0.75, -0.5, 3.0])) == 0.25
    assert common_unit(np.array([3.0, 9.0, 0.0])) == 3.0
    assert np.isnan(common_unit(np.array([0.371, 0.5])))
    assert common_unit(np.zeros(3)) == 0
