"""A shipped device is what schedules expect of a machine: each fact is there, and of its type."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from abc_tvm.schedules.machine import CostFacts, GpuFacts, MachineFacts
from abc_tvm.targets import load, names


def facts(protocol: type) -> dict[str, Any]:
    """The properties of a protocol with their types."""
    made = {name: value for name, value in vars(protocol).items() if isinstance(value, property)}
    return {name: typing.get_type_hints(value.fget)["return"] for name, value in made.items()}


def lacks(thing: object, protocol: type) -> set[str]:
    """What a thing does not say, or says in another type; parts that are protocols aside."""
    apart = set()
    for name, kind in facts(protocol).items():
        kinds = typing.get_args(kind) or (kind,)
        known = tuple(t for t in kinds if t not in (CostFacts, GpuFacts))
        numbers = (int,) if float in known else ()
        whole = len(known) == len(kinds)
        if not hasattr(thing, name):
            apart.add(name)
        elif whole:
            apart |= set() if isinstance(getattr(thing, name), known + numbers) else {name}
    return apart


@pytest.mark.parametrize("name", names())
def test_a_device_says_every_fact(name: str) -> None:
    device = load(name)
    assert lacks(device, MachineFacts) == set()
    assert lacks(device.cost, CostFacts) == set()
    assert device.gpu is None or lacks(device.gpu, GpuFacts) == set()


def test_what_lacks_a_fact_is_seen() -> None:
    """The comparison itself."""
    assert lacks(object(), CostFacts) == {"dot"}
    assert lacks(load("zen4").cost, GpuFacts) == set(facts(GpuFacts))
    assert len(facts(MachineFacts)) == 10


@pytest.mark.parametrize("name", names())
def test_facts_are_possible(name: str) -> None:
    """Extents that a rule divides by are none of them 0; a GPU has what its family asks for."""
    device = load(name)
    if device.gpu is None:
        assert device.vector_bits in (128, 256, 512) and device.vector_registers >= 16
        assert 0 < device.l1d_kib < device.l2_kib and device.cores > 0
    else:
        assert device.gpu.b1 in ("and", "xor", "none") and device.gpu.arch.startswith("sm_")
        assert min(device.gpu.fma, device.gpu.popc, device.gpu.dp4a) > 0
