"""Element-wise operators: which atoms their results have. In networks: test_atom_analysis.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from abc_tvm.relay_passes.analysis.atoms.arithmetic import Known, element_wise
from abc_tvm.relay_passes.analysis.atoms.atoms import ANYWHERE, NOWHERE, ZERO, Atoms
from abc_tvm.relay_passes.analysis.atoms.grids import multiples, points
from abc_tvm.relay_passes.rewrite import bindings, const, op_name

C = 2


def number(*values: float) -> Any:
    return const(np.asarray(values, np.float32) if len(values) > 1 else np.float32(values[0]))


def halves() -> Atoms:
    """Multiples of 1/2 up to 2, and nothing beside them."""
    grid = multiples(np.float32([0.5]), np.array([-4]), np.array([4]), aligned=False)
    return Atoms(np.array([False]), (grid,), False)


def atoms_of(build: Callable[..., Any], *given: Atoms) -> Atoms:
    """Atoms of an expression of tensors ``[1, C]`` with given atoms, binding by binding."""
    inputs = [relax.Var(f"x{i}", relax.TensorType((1, C), "float32")) for i in range(len(given))]
    builder = relax.BlockBuilder()
    with builder.function("main", inputs):
        with builder.dataflow():
            out = builder.emit_output(builder.normalize(build(builder.emit, *inputs)))
        builder.emit_func_output(out)
    known = Known(dict(zip(inputs, given, strict=True)))
    last: Any = None
    for var, value in bindings(builder.get()["main"]):
        known.bind(var, value)
        name = op_name(value)
        known.atoms[var] = (
            known.of(value) if name is None else element_wise(known, var, name, value)
        )
        last = var
    return known.of(last)


def at(atoms: Atoms, value: float) -> list[bool]:
    here = np.full(C, value, np.float32)
    return list(atoms.at(here, here))


BOTH, NEITHER = [True] * C, [False] * C


@pytest.mark.parametrize(
    ("build", "ends"),
    [
        (lambda emit, x: op.nn.relu(x), [0.0]),
        (lambda emit, x: op.clip(x, -0.3, 0.7), [-0.3, 0.7]),
        (lambda emit, x: op.maximum(x, number(0.4)), [0.4]),
        (lambda emit, x: op.minimum(x, number(0.4)), [0.4]),
        (lambda emit, x: op.tanh(x), [-1.0, 1.0]),
        (lambda emit, x: op.sigmoid(x), [0.0, 1.0]),
    ],
    ids=["relu", "clip", "max", "min", "tanh", "sigmoid"],
)
def test_bounds_are_atoms_of_what_is_spread_out(
    build: Callable[..., Any], ends: list[float]
) -> None:
    found = atoms_of(build, NOWHERE)
    assert found.loose
    assert [at(found, end) for end in ends] == [BOTH] * len(ends)
    assert at(found, 0.123) == NEITHER


def test_sign_has_a_zero_where_its_argument_may() -> None:
    spread, tied = (atoms_of(lambda emit, x: op.sign(x), given) for given in (NOWHERE, ZERO))
    assert [at(spread, v) for v in (-1, 0, 1)] == [BOTH, NEITHER, BOTH]
    assert [at(tied, v) for v in (-1, 0, 1)] == [BOTH] * 3


def test_a_constant_moves_atoms_as_the_operator_does() -> None:
    """In float32, channel by channel."""
    found = atoms_of(lambda emit, x: op.multiply(x, number(0.3, 0.7)), halves())
    assert at(found, np.float32(1.5) * np.float32(0.3)) == [True, False]
    assert at(found, np.float32(1.5) * np.float32(0.7)) == [False, True]
    found = atoms_of(lambda emit, x: op.subtract(number(0.3, 0.7), x), halves())
    assert at(found, np.float32(0.3) - np.float32(1.5)) == [True, False]
    found = atoms_of(lambda emit, x: op.divide(x, number(0.3)), halves())
    assert at(found, np.float32(1.5) / np.float32(0.3)) == BOTH


def test_times_zero_is_zero_whatever_comes_in() -> None:
    found = atoms_of(lambda emit, x: op.multiply(x, number(0.0, 0.7)), NOWHERE)
    assert at(found, 0) == [True, False]


def test_what_two_tensors_add_up_to() -> None:
    def add(emit: Any, x: Any, y: Any) -> Any:
        return op.add(x, y)

    assert at(atoms_of(add, halves(), halves()), 3.5) == BOTH
    assert at(atoms_of(add, halves(), halves()), 0.3) == NEITHER
    assert at(atoms_of(add, halves(), NOWHERE), 0.5) == NEITHER
    assert at(atoms_of(add, halves(), ANYWHERE), 0.3) == BOTH


def test_functions_of_one_tensor_may_cancel() -> None:
    def apart(emit: Any, x: Any) -> Any:
        return op.subtract(emit(op.nn.relu(x)), emit(op.multiply(x, number(0.5))))

    assert at(atoms_of(apart, NOWHERE), 0.3) == BOTH
    found = atoms_of(lambda emit, x: op.subtract(x, x), NOWHERE)
    assert at(found, 0) == BOTH and at(found, 0.3) == NEITHER
    found = atoms_of(lambda emit, x: op.add(x, x), replace(halves(), loose=True))
    assert at(found, 3) == BOTH and at(found, 0.5) == NEITHER


def prelu(emit: Any, x: Any, slope: Any) -> Any:
    low = emit(op.minimum(x, number(0.0)))
    return op.add(emit(op.nn.relu(x)), emit(op.multiply(low, slope)))


def test_a_prelu_that_is_written_out_is_no_such_sum() -> None:
    assert at(atoms_of(lambda emit, x: prelu(emit, x, number(0.25)), NOWHERE), 0.3) == NEITHER
    found = atoms_of(lambda emit, x: prelu(emit, x, number(0.25, 0.3)), halves())
    assert at(found, 1.5) == BOTH and at(found, -0.375) == [True, False]
    level = atoms_of(lambda emit, x: prelu(emit, x, number(0.25, 0.0)), NOWHERE)
    assert at(level, 0)[1]  # a slope of 0 is a level


@pytest.mark.parametrize("count", [1, 2, 3])
def test_slopes_belong_to_channels_and_not_to_variants(count: int) -> None:
    """Points in all channels, as many as there are channels, or fewer, or more."""
    values = np.float32([-1, -2, 0.75])[:count]
    kept = Atoms(np.array([False]), (points(values),), False)
    found = atoms_of(lambda emit, x: prelu(emit, x, number(0.25, 0.5)), kept)
    for value in values:
        low = min(value, 0) * np.float32([0.25, 0.5]) + max(value, 0)
        assert list(found.at(low, low)) == BOTH
    assert at(found, -0.125) == NEITHER


def test_rounded_values_are_whole_numbers() -> None:
    found = atoms_of(lambda emit, x: op.round(x), NOWHERE)
    assert at(found, 3) == BOTH and at(found, 0.5) == NEITHER and not found.loose
