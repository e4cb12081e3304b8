"""The workloads of a folder that ships, in a hundredth of their size.

``meta_schedule`` keeps a module as base64 of its JSON form, 0.1 to 0.2 MB each. Here the JSON forms
of all modules are compressed together, line by line ``[hash, module]``.
"""

from __future__ import annotations

import base64
import json
import lzma

SUFFIX = ".xz"

BYTES = "latin-1"
"""Each byte is one character: a length goes before the JSON form."""


def unpack(data: bytes) -> str:
    """The lines of ``database_workload.json``. Raises ``ValueError`` where data is damaged."""
    try:
        text = lzma.decompress(data).decode()
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    lines = []
    for line in text.splitlines():
        key, module = json.loads(line)
        stored = base64.b64encode(module.encode(BYTES)).decode()
        lines.append(json.dumps([key, stored], separators=(",", ":")) + "\n")
    return "".join(lines)


def pack(workloads: dict[str, str]) -> bytes:
    """The inverse of :func:`unpack`, from hashes and modules as ``meta_schedule`` keeps them."""
    lines = [
        json.dumps([key, base64.b64decode(module).decode(BYTES)]) + "\n"
        for key, module in workloads.items()
    ]
    return lzma.compress("".join(lines).encode(), preset=9)
