"""What each block of a kernel is for: the word by which schedules find it.

A TE compute gives its blocks a role as an annotation; their names are for readers alone. In the
order in which a kernel computes::

    border    the input with a border round it, wide enough for whole tiles
    groups    the input with its channels by group, and nothing else done to it
    rows      rows of a lookup table that the input selects
    partial   sums of a part of the reduction, in bytes
    total     partial sums added up
    sums      a convolution's sums; in a kernel without one, what it reads or pools
    tile      a tile of sums, which a schedule makes one block and a written-out loop computes

    combine   the sum over planes of weighted sums
    value     any other number of each slot, stored or read by what follows
    bit       bits that are picked one by one, from wherever they lie
    truth     truth values, to be packed
    pack      truth values of one word, put together
    word      stores packed words
    code      stores bytes
    crop      copies channels out of padded lanes

From ``combine`` on they are the epilogue, in any order and number. What has no role (two passes of
a pooling, another package's kernel) is scheduled by its place or as any loop nest.

A role says nothing about what is computed: :func:`abc_tvm.schedules.statements.without_roles` takes
roles off before a function is compiled or a workload is hashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Role = Literal[
    "border",
    "groups",
    "rows",
    "partial",
    "total",
    "sums",
    "tile",
    "combine",
    "value",
    "bit",
    "truth",
    "pack",
    "word",
    "code",
    "crop",
]

ROLE = "abc_role"
"""The annotation of a block that holds its :data:`Role`."""


def notes(role: Role, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """The annotations of a block: its role, and what else is to be known of it."""
    return {ROLE: role, **(more or {})}
