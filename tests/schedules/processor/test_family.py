from __future__ import annotations

import numpy as np
import pytest
from tvm import te

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking, stage
from abc_tvm.compute.outputs import float_output
from abc_tvm.compute.roles import notes
from abc_tvm.schedules import blocks
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.family import Plan
from abc_tvm.schedules.problem import POOLS, SUMS, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.pools import default_pool
from abc_tvm.targets import load
from tests.schedules.window_cases import call, placeholder

BITSERIAL, _, INT8 = SUMS


def processor(name: str) -> Processor:
    family = family_of(load(name))
    assert isinstance(family, Processor)
    return family


def test_a_choice_names_one_of_a_kinds_nests() -> None:
    family = processor("haswell")
    first, second = (nest for _, nest in family.nests[BITSERIAL])
    assert family.nest(BITSERIAL) is family.nest(BITSERIAL, "nibble") is first
    assert family.nest(BITSERIAL, "popcount") is second is not first
    only = family.nest("float")
    assert family.nest("float", "nibble") is only  # floats ignore how bits are counted


@pytest.mark.parametrize("name", ["rpi4", "x86-64"])
def test_a_kind_that_is_not_served_is_refused(name: str) -> None:
    family = processor(name)
    assert family.code is None
    with pytest.raises(ValueError, match=f"no sums of {INT8}"):
        family.nest(INT8)


def test_kernels_without_a_sum_have_defaults_of_their_own() -> None:
    device, family = load("zen4"), processor("zen4")
    window, blocking = Window(1, 14, 14, 64, 64), Blocking(64)
    assert family.default(device, Problem(window, blocking, 1, "lanes")) == Choice()
    for kind in POOLS:
        problem = Problem(window, blocking, 1, kind)
        assert family.default(device, problem) == default_pool(problem) != Choice()


def test_groups_of_the_input_are_read_in_place(rng: np.random.Generator) -> None:
    """Not copied: the block that regroups channels is inlined."""
    device = load("native")
    window, blocking = Window(1, 4, 5, 6, 64, groups=2), Blocking(64, 2)
    x = rng.integers(-4, 5, (1, 4, 5, 6)).astype(np.float32)
    weights = rng.integers(-4, 5, (2, 1, 1, 3, 32)).astype(np.float32)
    inputs = [placeholder("A", x), placeholder("W", weights)]
    grouped = te.compute(
        (1, 4, 5, 2, 3),
        lambda b, h, w, g, c: inputs[0][b, h, w, g * 3 + c],
        name="split",
        attrs=notes("groups"),
    )
    plan = Plan(device, Problem(window, blocking, 1, "float"), Choice(Tile(1, 5)))
    acc = family_of(device).sums(plan, grouped, weights, lambda array, name: inputs[1])
    out = float_output("y", 1, 4, 5, blocking, lambda at: acc[at])
    func = te.create_prim_func([*inputs, out])
    assert blocks.has(func, "groups")
    made = family_of(device).schedule(plan, func)
    assert "split" not in made.script()
    y = call(made, [x, weights, np.zeros((1, 4, 5, 2, 1, 32), np.float32)], device.cpu)[-1]
    expected = np.einsum("bhwgc,gcl->bhwgl", x.reshape(1, 4, 5, 2, 3), weights[:, 0, 0])
    np.testing.assert_array_equal(y[:, :, :, :, 0], expected)


def test_what_depends_on_no_convolution_is_scheduled_as_any_kernel() -> None:
    device = load("native")
    blocking = Blocking(32)
    problem = Problem(Window(1, 2, 2, 64, 32), blocking, 1, BITSERIAL)
    x = te.placeholder((1, 2, 2, 1, 1, 32), "float32", name="x")
    out = stage("out", blocking.shape(1, 2, 2), lambda at: x[at] * x[at])
    func = family_of(device).schedule(
        Plan(device, problem, Choice()), te.create_prim_func([x, out])
    )
    values = np.arange(128, dtype=np.float32).reshape(1, 2, 2, 1, 1, 32)
    made = call(func, [values, np.zeros_like(values)])[-1]
    np.testing.assert_array_equal(made, values**2)
    assert "T.vectorized" in func.script()
