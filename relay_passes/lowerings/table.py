"""The ways to compute a convolution, by their words.

A new one is a module beside this file and a line in :data:`LOWERINGS`. One from outside is
registered, for this process by :func:`register`, for all by an entry point of its package::

    [project.entry-points."abc_tvm.lowerings"]
    toy = "my_package.toy:TOY"

The words are known without TVM; what they stand for is imported when it is first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from abc_tvm.errors import UserError
from abc_tvm.schedules.registered import Registered

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
    if any(point.name == name for point in installed()):
        return _loaded(name)
    raise LookupError(f"there is no lowering {name!r}")


@cache
def _loaded(name: str) -> Lowering:
    """One of an installed package. Raises ``UserError`` where it cannot be one."""
    point = next(point for point in installed() if point.name == name)
    try:
        lowering: Lowering = point.load()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the lowering {name!r} of an installed package ({point.value}) cannot be imported: "
            f"{error}"
        ) from error
    others = tuple(lowering_of(word) for word in (*LOWERINGS, *_registered))
    fault = fault_of(lowering, others)
    if not fault and lowering.name != name:
        fault = f"the entry point has another name than the lowering, {lowering.name!r}"
    if fault:
        raise UserError(f"the lowering {name!r} of an installed package ({point.value}): {fault}")
    know(lowering)
    return lowering


def fault_of(lowering: Lowering | object, others: Sequence[Lowering]) -> str:
    """Why a lowering from outside cannot stand beside others; empty where it can."""
    from abc_tvm.schedules.problem import SUMS

    from .lowering import Lowering as Interface

    if not isinstance(lowering, Interface):
        return f"{type(lowering).__name__} is no lowering"
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", lowering.name) or lowering.name == "auto":
        return f"{lowering.name!r} is no word for one: small letters, digits, - and _"
    if lowering.name in (one.name for one in others):
        return f"there is a lowering {lowering.name!r} already"
    if lowering.kind not in SUMS:
        return f"its kind {lowering.kind!r} is none of {', '.join(SUMS)}"
    if not lowering.encodings:
        return "nothing writes its inputs: encodings is empty"
    taken = {"nn.max_pool2d"}.union(*(operators_of(one) for one in others))
    both = sorted(taken & operators_of(lowering))
    return f"{both[0]} is another's operator already" if both else ""


def operators_of(lowering: Lowering) -> set[str]:
    """The operators that a lowering says are its own."""
    written = {encoding.operator for encoding in lowering.encodings}
    return {lowering.anchor.operator, *written, *(pool.operator for pool in lowering.poolings)}


def know(lowering: Lowering) -> None:
    """Make the operators that a lowering brings known to TVM."""
    from abc_tvm.relay_passes.ops import operator
    from abc_tvm.relay_passes.ops import register as know_own

    know_own()
    for name, infer in lowering.operators.items():
        operator(name, infer)


def know_operators() -> None:
    """Make the operators of all lowerings known to TVM; needed before a stored function is read."""
    from abc_tvm.relay_passes.ops import register as know_own

    know_own()
    lowerings()


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
    """Kernels of their own between an encoding and an anchor: of pooling, padding, moving."""
    others = {o.operator: o for one in lowerings() for o in (*one.paddings, *one.moves)}
    return poolings() | others


def register(lowering: Lowering) -> Registered[Lowering]:
    """Add one in this process; ``with`` takes it back at the end.

    Raises ``ValueError`` where the word or one of the operators is taken, or it is no lowering.
    """
    fault = fault_of(lowering, lowerings())
    if fault:
        raise ValueError(fault)
    know(lowering)
    _registered[lowering.name] = lowering
    return Registered(_registered, lowering.name)
