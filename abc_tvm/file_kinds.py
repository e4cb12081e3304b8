"""Kinds of files that commands write, and how one that is there already is known.

A command replaces a file only with its like: ``compile -o model.onnx`` must not cost the model.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

_FOOTER_MAGIC = b"ABC-TVM\0"
_FOOTER_BYTES = 48
"""Of ``abc_tvm.runtime.container``, which needs more than a look at a file should."""

# ModelProto's fields and their wire types (0: varint, 2: length-delimited): onnx.proto.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH = 7


@dataclass(frozen=True)
class Kind:
    """``name`` says what it is; ``suffix`` ends its name; ``holds`` knows one by its content."""

    name: str
    suffix: str
    holds: Callable[[BinaryIO], bool]


def _is_artifact(stream: BinaryIO) -> bool:
    size = os.fstat(stream.fileno()).st_size
    if stream.read(4) != b"\x7fELF" or size < _FOOTER_BYTES:
        return False
    stream.seek(size - _FOOTER_BYTES)
    return stream.read(len(_FOOTER_MAGIC)) == _FOOTER_MAGIC


def _is_npz(stream: BinaryIO) -> bool:
    try:
        with zipfile.ZipFile(stream) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _is_png(stream: BinaryIO) -> bool:
    return stream.read(8) == b"\x89PNG\r\n\x1a\n"


def _is_onnx(stream: BinaryIO) -> bool:
    """Whether the file is a row of a ModelProto's fields with a graph; nothing is parsed."""
    size, at, graph = os.fstat(stream.fileno()).st_size, 0, False
    while at < size:
        stream.seek(at)
        head = stream.read(20)
        tag, used = _varint(head, 0)
        if _MODEL_FIELDS.get(tag >> 3) != tag & 7:
            return False
        value, used = _varint(head, used)
        if value < 0:
            return False
        graph = graph or tag >> 3 == _GRAPH
        at += used + (value if tag & 7 == 2 else 0)
    return graph and at == size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number at ``at``, and where it ends; -1 where there is none."""
    value = 0
    for count in range(10):
        if at + count >= len(data):
            return -1, at
        value |= (data[at + count] & 0x7F) << (7 * count)
        if data[at + count] < 0x80:
            return value, at + count + 1
    return -1, at


ARTIFACT = Kind("a compiled network", ".so", _is_artifact)
ARRAYS = Kind("an .npz file", ".npz", _is_npz)
MODEL = Kind("an ONNX model", ".onnx", _is_onnx)
PLOT = Kind("a PNG picture", ".png", _is_png)


def like(name: str, data: bytes) -> Kind:
    """The kind of one of a folder's files: programs and libraries by their magic, text by its
    first line, where one that abc-tvm wrote for another model or version is the same kind."""
    magic = next((m for m in (b"\x7fELF", b"!<arch>\n") if data.startswith(m)), None)

    def holds(stream: BinaryIO) -> bool:
        if magic is not None:
            return stream.read(len(magic)) == magic
        old, new = stream.readline(4096), data.partition(b"\n")[0] + b"\n"
        ours = b"abc-tvm" in old and b"abc-tvm" in new
        ports = name.endswith(".ports") and old.startswith((b"input ", b"output "))
        return ours or ports or old == new or old + stream.read(len(data)) == data

    return Kind(f"the {name} that abc-tvm writes", "", holds)
