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


MOST_BYTES = 256 << 20
"""Of what is unpacked: eight times what the largest folder that ships has."""

_MOST_DICTIONARY = 128 << 20
"""Memory that the decoder may take; ``pack`` needs 65 MiB. The file itself could ask for 4 GiB."""


def unpack(data: bytes, most: int = MOST_BYTES) -> str:
    """The lines of ``database_workload.json``.

    Raises ``ValueError`` where data is damaged, or has more than ``most`` bytes when unpacked.
    """
    text = _unpacked(data, most).decode()
    lines = []
    for line in text.splitlines():
        key, module = json.loads(line)
        stored = base64.b64encode(module.encode(BYTES)).decode()
        lines.append(json.dumps([key, stored], separators=(",", ":")) + "\n")
    return "".join(lines)


def _unpacked(data: bytes, most: int) -> bytes:
    """A file of a few kilobytes can unpack to gigabytes: never more than ``most`` are made."""
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_DICTIONARY)
    try:
        text = stream.decompress(data, most)
        more = not stream.eof and bool(stream.decompress(b"", 1))
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(str(error)) from error
    if more:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    if not stream.eof:
        raise ValueError("it ends too early")
    if stream.unused_data:
        raise ValueError("something follows its end")
    return text


def pack(workloads: dict[str, str]) -> bytes:
    """The inverse of :func:`unpack`, from hashes and modules as ``meta_schedule`` keeps them."""
    lines = [
        json.dumps([key, base64.b64decode(module).decode(BYTES)]) + "\n"
        for key, module in workloads.items()
    ]
    return lzma.compress("".join(lines).encode(), preset=9)
