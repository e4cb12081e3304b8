"""Atoms of a tensor, channel by channel, and of tensors that are put together."""

from __future__ import annotations

import numpy as np

from abc_tvm.relay_passes.analysis.atoms.atoms import (
    ANYWHERE,
    MOST_POINTS,
    NOWHERE,
    ZERO,
    Atoms,
    embedded,
    input_unit,
    of_constant,
    one,
    product,
    pruned,
    scaled,
    summed,
    together,
)
from abc_tvm.relay_passes.analysis.atoms.grids import MOST_GRIDS, multiples, points


def at(atoms: Atoms, value: float, channels: int = 3) -> list[bool]:
    here = np.full(channels, value, np.float32)
    return list(atoms.at(here, here))


def quarters() -> Atoms:
    """Multiples of 1/4 up to 1, and nothing beside them."""
    grid = multiples(np.float32([0.25]), np.array([-4]), np.array([4]), aligned=False)
    return Atoms(np.array([False]), (grid,), False)


def test_nothing_is_at_nothing() -> None:
    zero = np.zeros(3, np.float32)
    assert not NOWHERE.at(zero, zero).any()
    assert ZERO.zero() and ANYWHERE.zero() and not NOWHERE.zero()


def test_a_constant_of_a_value_for_each_channel_has_it_there_alone() -> None:
    atoms = of_constant(np.float32([1, 2, 3]).reshape(1, 1, 1, 3))
    assert at(atoms, 2) == [False, True, False]
    assert at(atoms.spread(), 2) == [True] * 3
    assert at(of_constant(np.float32([[1, 2], [3, 1]])), 3, 2) == [True, True]


def test_a_constant_of_many_values_is_spread_out_but_for_zero() -> None:
    many = np.arange(1, MOST_POINTS + 2, dtype=np.float32).reshape(1, -1, 1)
    assert of_constant(many) is NOWHERE
    assert of_constant(many - 1) is ZERO


def test_together_is_what_either_may_be() -> None:
    either = together([quarters(), of_constant(np.float32([[7.5], [7.5]]))])
    assert at(either, 0.75)[0] and at(either, 7.5)[0] and not at(either, 0.3)[0]
    assert not either.loose and together([either, ZERO]).loose
    # Channels of two counts are not the same channels.
    apart = [of_constant(np.arange(n, dtype=np.float32) + n) for n in (3, 4)]
    assert at(together(apart), 6) == [True] * 3


def test_sums_of_atoms() -> None:
    both = summed(quarters(), of_constant(np.float32([[0.5], [1.5]])))
    assert at(both, 2.25)[0] and at(both, 0.75)[0] and not at(both, 0.3)[0]
    assert at(summed(quarters(), NOWHERE), 0) == [False] * 3  # spread out, whatever is added
    assert at(summed(quarters(), ANYWHERE), 0.3) == [True] * 3
    assert at(summed(NOWHERE, ANYWHERE), 0.3) == [False] * 3


def test_products_are_zero_where_a_factor_is() -> None:
    assert product(NOWHERE, ZERO) is ZERO
    assert product(NOWHERE, NOWHERE) is NOWHERE
    assert at(product(quarters(), quarters()), 0.3) == [True] * 3


def test_a_function_of_atoms_is_met_to_the_last_bit() -> None:
    third = np.float32(1 / 3)
    found = scaled(quarters(), lambda x: x * third, one(float(third)), one(0.0), None)
    value = np.float32(0.75) * third
    assert at(found, value)[0] and not at(found, np.nextafter(value, np.float32(1)))[0]


def test_too_many_grids_become_one_of_short_numbers() -> None:
    grids = tuple(points(np.float32([k / 8])) for k in range(MOST_GRIDS + 1))
    few = pruned(Atoms(np.array([False]), grids, False))
    assert len(few.grids) == 1
    assert at(few, 5 / 8)[0] and not at(few, 1 / 3)[0]


def test_the_unit_of_short_numbers() -> None:
    assert input_unit(quarters()) == (0.25, 4.0)
    assert input_unit(NOWHERE) == (None, 0.0)
    # Numbers that are not short are met by accident, and do not count.
    assert input_unit(of_constant(np.float32([[0.371], [0.5]]))) == (0.5, 1.0)
    assert input_unit(of_constant(np.float32([[0.371], [0.372]]))) == (None, 0.0)


def test_channels_among_others() -> None:
    inner = of_constant(np.float32([1, 2])).grids[0]
    wide = Atoms(np.array([False]), (embedded(inner, slice(1, 3), 4),), False)
    assert at(wide, 1, 4) == [False, True, False, False]
    assert at(wide, 2, 4) == [False, False, True, False]
