"""The families of schedules by ``isa``, the word in a device's TOML, which the loader checks.

A new family is a folder beside this file and a line in :data:`FAMILIES`. One from outside is
registered, for this process by :func:`register`, for all by an entry point of its package::

    [project.entry-points."abc_tvm.families"]
    toy = "my_package.toy:TOY"

Nothing is imported before a family is used: devices are listed and checked without TVM.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING

from .registered import Registered

if TYPE_CHECKING:
    from .choice import Choice
    from .family import CodeType, Family
    from .machine import MachineFacts

GROUP = "abc_tvm.families"
"""Of entry points."""


@dataclass(frozen=True)
class Listed:
    """A family before it is imported: ``place`` is "module:name", the rest what it says itself.

    ``int8``: it has dot products of bytes. ``gpu``: its machines are GPUs.
    """

    place: str
    int8: bool = False
    gpu: bool = False

    def family(self) -> Family:
        module, _, name = self.place.partition(":")
        family: Family = getattr(import_module(f"{__package__}.{module}"), name)
        return family


FAMILIES: dict[str, Listed] = {
    "avx512-vpopcnt": Listed("x86.family:AVX512_VPOPCNT", int8=True),
    "avx512": Listed("x86.family:AVX512", int8=True),
    "avx2": Listed("x86.family:AVX2", int8=True),
    "x86-64": Listed("x86.family:BASELINE"),
    "neon": Listed("neon.family:NEON"),
    "neon-dot": Listed("neon.family:NEON_DOT", int8=True),
    "neon32": Listed("neon.family:NEON32"),
    "cuda": Listed("cuda.family:CUDA", int8=True, gpu=True),
}
"""Those that ship."""

_registered: dict[str, Family] = {}


def names() -> tuple[str, ...]:
    """Every ``isa`` that there is."""
    return (*FAMILIES, *_registered, *(p.name for p in metadata.entry_points(group=GROUP)))


def facts(isa: str) -> Listed | None:
    """What a device of this ``isa`` may say of itself; ``None`` for an unknown one."""
    if isa in FAMILIES:
        return FAMILIES[isa]
    family = _from_outside(isa)
    return None if family is None else Listed("", family.code is not None, family.gpu)


def family_of(machine: MachineFacts) -> Family:
    """The family that serves a machine.

    Raises ``LookupError`` where there is none; the loader of devices has refused such a one.
    """
    if machine.isa in FAMILIES:
        return FAMILIES[machine.isa].family()
    family = _from_outside(machine.isa)
    if family is None:
        raise LookupError(f"target {machine.name}: there is no family {machine.isa!r}")
    return family


def code_type(machine: MachineFacts) -> CodeType | None:
    """The bytes that levels are coded in; ``None`` on a machine without dot products."""
    return None if machine.cost.dot is None else family_of(machine).code


def choice_of(words: dict[str, str]) -> Choice:
    """The choice that ``Choice.words`` wrote, of whichever family: see :class:`.choice.Choice`.

    Raises ``ValueError`` for anything else.
    """
    from .choice import Choice

    for isa, listed in FAMILIES.items():
        if any(word.startswith(f"{isa}_") for word in words):
            return listed.family().choices.of(words)
    for isa, family in _registered.items():
        if any(word.startswith(f"{isa}_") for word in words):
            return family.choices.of(words)
    return Choice.of(words)


def register(isa: str, family: Family) -> Registered[Family]:
    """Let ``family`` serve devices of ``isa`` in this process; ``with`` takes it back at the end.

    Raises ``ValueError`` where the word is taken.
    """
    if isa in names():
        raise ValueError(f"there is a family {isa!r} already")
    _registered[isa] = family
    return Registered(_registered, isa)


def _from_outside(isa: str) -> Family | None:
    if isa in _registered:
        return _registered[isa]
    for point in metadata.entry_points(group=GROUP, name=isa):
        family: Family = point.load()
        return family
    return None
