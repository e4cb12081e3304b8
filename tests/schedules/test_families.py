"""The list of families says of each what the family says of itself."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from abc_tvm.compute.geometry import Window
from abc_tvm.compute.lanes import Blocking
from abc_tvm.schedules import families
from abc_tvm.schedules.choice import Choice
from abc_tvm.schedules.cuda.space import PREFIX, CudaChoice
from abc_tvm.schedules.problem import SUMS, Problem
from abc_tvm.schedules.processor.family import Processor
from abc_tvm.targets import load, names
from tests.schedules.toy import TOY


@pytest.mark.parametrize("isa", families.FAMILIES)
def test_what_is_listed_is_what_it_is(isa: str) -> None:
    listed = families.FAMILIES[isa]
    family = listed.family()
    assert family is listed.family(), "one, without state"
    assert (listed.int8, listed.gpu) == (family.code is not None, family.gpu)
    assert family.tunable
    assert family.choices is Choice or isa == PREFIX.removesuffix("_")


def test_every_family_serves_a_shipped_device() -> None:
    assert {load(name).isa for name in names()} == {*families.FAMILIES}


@pytest.mark.parametrize("name", names())
def test_every_device_has_the_kinds_that_it_says(name: str) -> None:
    device = load(name)
    family = families.family_of(device)
    window, blocking = Window(1, 7, 7, 64, 64, (3, 3)), Blocking(64)
    for kind in SUMS:
        problem = Problem(window, blocking, 1, kind)
        if kind == "int8" and family.code is None:
            with pytest.raises(ValueError, match="no sums of int8"):
                family.default(device, problem)
            continue
        space = family.space(device, problem, 1)
        assert space is not None and space.default() == family.default(device, problem)


def test_code_types() -> None:
    found = {name: families.code_type(load(name)) for name in names()}
    assert {name: code for name, code in found.items() if code == "uint8"}.keys() == {
        "icelake-server",
        "sapphirerapids",
        "zen4",
        "zen5",
    }
    assert found["rpi5"] == found["cuda-sm80"] == "int8"
    assert found["haswell"] is found["rpi4"] is found["skylake-avx512"] is None


def test_a_family_keeps_nothing_between_calls() -> None:
    """What one kernel was asked for says nothing about the next."""
    device = load("zen5")
    family = families.family_of(device)
    assert isinstance(family, Processor)
    pixels = Problem(Window(1, 14, 14, 256, 1024), Blocking(1024), 1, "bitserial")
    weights = Problem(Window(1, 14, 14, 64, 64, (3, 3)), Blocking(64), 9, "bitserial", 3)
    state = dict(vars(family))
    first = [family.default(device, problem) for problem in (pixels, weights)]
    again = [family.default(device, problem) for problem in (weights, pixels)]
    assert first == again[::-1] and [c.order for c in first] == ["pixels", "weights"]
    assert vars(family) == state


def test_a_choice_is_read_by_its_own_family() -> None:
    assert type(families.choice_of(Choice().words())) is Choice
    assert type(families.choice_of(CudaChoice().words())) is CudaChoice
    with pytest.raises(ValueError, match="not a choice"):
        families.choice_of({"toy_pixels": "1"})


def test_a_registered_family_and_its_end() -> None:
    assert families.facts("toy") is None
    machine: Any = SimpleNamespace(isa="toy", name="board")
    with families.register("toy", TOY):
        assert families.family_of(machine) is TOY
        assert families.facts("toy") == families.Listed("", int8=True, gpu=False)
        assert families.names()[-1] == "toy"
        with pytest.raises(ValueError, match="'toy' already"):
            families.register("toy", TOY)
    with pytest.raises(LookupError, match="target board: there is no family 'toy'"):
        families.family_of(machine)


def test_the_words_of_shipped_families_are_taken() -> None:
    with pytest.raises(ValueError, match="'avx2' already"):
        families.register("avx2", TOY)


def test_an_installed_package_brings_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("toy", "tests.schedules.toy:TOY", families.GROUP)

    def entry_points(*, group: str, name: str = "toy") -> list[metadata.EntryPoint]:
        return [point] if (group, name) == (families.GROUP, "toy") else []

    monkeypatch.setattr(families.metadata, "entry_points", entry_points)
    assert "toy" in families.names()
    machine: Any = SimpleNamespace(isa="toy", name="board")
    assert families.family_of(machine) is TOY
