"""An object file that holds nothing but one constant array.

Written here, byte by byte, so that no compiler or assembler for the target is needed. Layout and
constants: System V ABI, chapters 4 and 5 ("Object Files"); ``e_flags`` of 32-bit ARM: "ELF for the
Arm Architecture", section 5.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from abc_tvm.errors import TargetError

ALIGNMENT = 64
_RELOCATABLE, _CURRENT = 1, 1
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_ALLOC = 2
_GLOBAL_OBJECT = 1 << 4 | 1


@dataclass(frozen=True)
class ElfMachine:
    """What differs between targets: ``e_machine``, class (32 or 64 bits) and ``e_flags``."""

    number: int
    bits: int
    flags: int = 0


MACHINES = {
    "x86_64": ElfMachine(62, 64),
    "aarch64": ElfMachine(183, 64),
    "arm": ElfMachine(40, 32, 0x05000000),
}
"""By the first word of the target's triple; all of them little-endian."""


def machine_of(triple: str) -> ElfMachine:
    """The machine of a triple.

    Raises:
        TargetError: The C form is not made for it.
    """
    architecture = triple.partition("-")[0]
    name = "arm" if architecture.startswith("armv") else architecture
    if name not in MACHINES:
        raise TargetError(
            f"triple {triple}: the C form is made for {', '.join(sorted(MACHINES))} only"
        )
    return MACHINES[name]


def constant_object(symbol: str, data: bytes, machine: ElfMachine) -> bytes:
    """A relocatable object with ``data`` in ``.rodata`` under the global name ``symbol``."""
    wide = machine.bits == 64
    names = b"\0.rodata\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack\0"
    strings = b"\0" + symbol.encode("ascii") + b"\0"
    # name, value, size, info, other, section; 64 bits order them differently.
    if wide:
        entry = struct.pack("<IBBHQQ", 1, _GLOBAL_OBJECT, 0, 1, 0, len(data))
        symbols = bytes(24) + entry
    else:
        entry = struct.pack("<IIIBBH", 1, 0, len(data), _GLOBAL_OBJECT, 0, 1)
        symbols = bytes(16) + entry
    header_size, section_size = (64, 64) if wide else (52, 40)
    word = 8 if wide else 4
    contents = [
        # name, type, flags, content, link, info, alignment, size of an entry
        (".rodata", _PROGBITS, _ALLOC, data, 0, 0, ALIGNMENT, 0),
        (".symtab", _SYMTAB, 0, symbols, 3, 1, word, len(entry)),
        (".strtab", _STRTAB, 0, strings, 0, 0, 1, 0),
        (".shstrtab", _STRTAB, 0, names, 0, 0, 1, 0),
        # An empty section of this name tells linkers that the stack need not be executable.
        (".note.GNU-stack", _PROGBITS, 0, b"", 0, 0, 1, 0),
    ]
    body = b""
    table = bytes(section_size)
    form = "<IIQQQQIIQQ" if wide else "<IIIIIIIIII"
    for name, kind, flags, content, link, info, alignment, size in contents:
        body += bytes(-(header_size + len(body)) % alignment)
        offset = header_size + len(body)
        at = names.index(b"\0" + name.encode("ascii") + b"\0") + 1
        table += struct.pack(
            form, at, kind, flags, 0, offset, len(content), link, info, alignment, size
        )
        body += content
    body += bytes(-(header_size + len(body)) % word)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, _CURRENT]) + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH",
        _RELOCATABLE,
        machine.number,
        _CURRENT,
        0,
        0,
        header_size + len(body),
        machine.flags,
        header_size,
        0,
        0,
        section_size,
        len(contents) + 1,
        4,
    )
    return header + body + table
