from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from abc_tvm.compute.accumulate import Tile
from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.families import family_of
from abc_tvm.schedules.problem import SUMS, Kind, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.schedules.processor.features import KNOBS, features
from abc_tvm.schedules.processor.ruled import Ruled
from abc_tvm.schedules.processor.space import ProcessorSpace
from abc_tvm.targets import load

BITSERIAL, *_ = SUMS


DEVICES = ["zen4", "haswell", "rpi3", "rpi5", "rpi-armv7"]
WINDOW = Window(1, 14, 14, 64, 96, (3, 3), (1, 1), (1, 1, 1, 1))


def space_of(name: str, kind: Kind, pairs: int, bases: int) -> ProcessorSpace:
    family = family_of(load(name))
    assert isinstance(family, Processor)
    return family.space(load(name), Problem(WINDOW, Blocking(96), pairs, kind, bases), 2)


@pytest.mark.parametrize("name", DEVICES)
def test_features_tell_choices_apart(name: str) -> None:
    device = load(name)
    assert family_of(device).tunable and family_of(device).described
    space = space_of(name, BITSERIAL, 6, 2)
    points = list(space.points())
    described = space.features(points)
    assert described.shape[0] == len(points) and np.isfinite(described).all()
    assert len(np.unique(described, axis=0)) == len(points)
    floats = space_of(name, "float", 1, 1)
    assert floats.features(list(floats.points())).shape[1] == described.shape[1]


def test_every_other_value_of_a_knob_has_a_place_of_its_own() -> None:
    """The default is all zeros there, so that a knob that a space lacks says nothing."""
    device, problem = load("zen4"), Problem(WINDOW, Blocking(96), 1, BITSERIAL)
    places = sum(len(values) - 1 for values in KNOBS.values())
    default = features(device, problem, None, [Choice()])[0, -places:]
    assert not default.any()
    seen = set()
    for name, values in KNOBS.items():
        for value in values[1:]:
            row = features(device, problem, None, [replace(Choice(), **{name: value})])[0]
            [place] = np.flatnonzero(row[-places:])
            seen.add(int(place))
    assert len(seen) == places


def test_a_nest_without_a_rule_has_no_figures() -> None:
    device, problem = load("zen4"), Problem(WINDOW, Blocking(96), 1, BITSERIAL)
    family = family_of(device)
    assert isinstance(family, Processor)
    nest = family.nest(BITSERIAL)
    assert isinstance(nest, Ruled)
    choice = Choice(Tile(1, 7))
    ruled, other = (features(device, problem, n, [choice])[0] for n in (nest, None))
    assert len(ruled) == len(other)
    apart = np.flatnonzero(ruled != other)
    assert 0 < len(apart) <= 5 and not other[apart].any()
