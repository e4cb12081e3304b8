"""The ways to compute a convolution, by their words.

A new one is a module beside this file and a line in :data:`LOWERINGS`. One from outside is
registered, for this process by :func:`register`, for all by an entry point of its package::

    [project.entry-points."abc_tvm.lowerings"]
    toy = "my_package.toy:TOY"

The words are known without TVM; what they stand for is imported when it is first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from abc_tvm.relay_passes.emit.anchor import Anchor, Encoding, Pooling

    from .lowering import Lowering

GROUP = "abc_tvm.lowerings"
"""Of entry points."""

LOWERINGS: dict[str, str] = {
    "bitserial": "bitserial:BITSERIAL",
    "float": "floats:FLOATS",
    "int8": "int8:INT8",
}
"""Those that ship, in the order in which the chooser asks them, and the first of equals wins."""

FLOAT = "float"
"""What a layer runs on that no other lowering takes."""

_registered: dict[str, Lowering] = {}


def names() -> tuple[str, ...]:
    """The word of every lowering that there is."""
    return (*LOWERINGS, *_registered, *(point.name for point in installed()))


@cache
def installed() -> tuple[EntryPoint, ...]:
    """Those of installed packages."""
    from importlib import metadata  # takes as long as the rest of a report

    return tuple(metadata.entry_points(group=GROUP))


def lowering_of(name: str) -> Lowering:
    """The lowering of a word. Raises ``LookupError`` for an unknown one."""
    if name in LOWERINGS:
        module, _, attribute = LOWERINGS[name].partition(":")
        shipped: Lowering = getattr(import_module(f"{__package__}.{module}"), attribute)
        return shipped
    if name in _registered:
        return _registered[name]
    for point in installed():
        if point.name == name:
            outside: Lowering = point.load()
            return outside
    raise LookupError(f"there is no lowering {name!r}")


def lowerings() -> tuple[Lowering, ...]:
    """All of them, in the order in which the chooser asks."""
    return tuple(lowering_of(name) for name in names())


def of_operator(operator: str | None) -> Lowering | None:
    """The lowering whose kernels begin with an operator; ``None`` for any other operator."""
    return next((one for one in lowerings() if one.anchor.operator == operator), None)


def anchors() -> dict[str, Anchor]:
    """What a kernel can begin with, by operator: a convolution of any lowering, or max-pooling."""
    from abc_tvm.relay_passes.emit.pooling import MAX_POOL

    every = (*(one.anchor for one in lowerings()), MAX_POOL)
    return {anchor.operator: anchor for anchor in every}


def encodings() -> dict[str, Encoding]:
    """What writes the inputs of lowerings, by operator."""
    return {encoding.operator: encoding for one in lowerings() for encoding in one.encodings}


def poolings() -> dict[str, Pooling]:
    """What pools such inputs, by operator."""
    return {pooling.operator: pooling for one in lowerings() for pooling in one.poolings}


def between() -> dict[str, Pooling]:
    """Kernels of their own between an encoding and an anchor: of pooling and of padding."""
    paddings = {padding.operator: padding for one in lowerings() for padding in one.paddings}
    return poolings() | paddings


def register(lowering: Lowering) -> RegisteredLowering:
    """Add one in this process; ``with`` takes it back at the end.

    Raises ``ValueError`` where the word or one of the operators is taken.
    """
    if lowering.name in names():
        raise ValueError(f"there is a lowering {lowering.name!r} already")
    if of_operator(lowering.anchor.operator) is not None:
        raise ValueError(f"{lowering.anchor.operator} is another lowering's operator already")
    _registered[lowering.name] = lowering
    return RegisteredLowering(lowering.name)


@dataclass(frozen=True)
class RegisteredLowering:
    """A registration, which ends with the block of a ``with``."""

    name: str

    def __enter__(self) -> RegisteredLowering:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _registered.pop(self.name, None)
