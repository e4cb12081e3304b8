"""A static library in the form that GNU and LLVM linkers read, symbol table included.

Format: ``ar(5)``, System V variant: 60-byte headers in ASCII, members at even offsets, the first
member ``/`` lists symbols as big-endian numbers, long names live in the member ``//``. Dates,
owners and modes are fixed, so the same members give the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

MAGIC = b"!<arch>\n"
_HEADER = 60


@dataclass(frozen=True)
class Member:
    """An object file and the global symbols that it defines."""

    name: str
    data: bytes
    symbols: tuple[str, ...]


def archive(members: Sequence[Member]) -> bytes:
    """The bytes of a static library."""
    long_names = b"".join(m.name.encode("ascii") + b"/\n" for m in members)
    names = b"".join(s.encode("ascii") + b"\0" for m in members for s in m.symbols)
    count = sum(len(m.symbols) for m in members)
    index_size = 4 + 4 * count + len(names)
    offset = len(MAGIC) + _HEADER + _even(index_size) + _HEADER + _even(len(long_names))
    offsets = []
    for member in members:
        offsets += [offset] * len(member.symbols)
        offset += _HEADER + _even(len(member.data))
    index = struct.pack(f">{1 + count}I", count, *offsets) + names
    parts = [MAGIC, _member("/", index), _member("//", long_names)]
    at = 0
    for member in members:
        parts.append(_member(f"/{at}", member.data))
        at += len(member.name) + 2
    return b"".join(parts)


def _member(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
    return header.encode("ascii") + data + b"\n" * (len(data) % 2)


def _even(size: int) -> int:
    return size + size % 2
