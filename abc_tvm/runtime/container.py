"""The artifact's file: a shared library, then its description, readable without running it.

=============  ===================================================================================
library        what the linker wrote; loaders ignore bytes after the segments they map
description    JSON, UTF-8: see :class:`Info`
footer         ``ABC-TVM\\0``, the description's length (little-endian uint64), and the SHA-256 of
               library, description and length (32 bytes)
=============  ===================================================================================

A file that was cut short has no footer, one that was damaged has another digest, so nothing of
a broken file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from abc_tvm._version import __version__
from abc_tvm.errors import ArtifactError, TargetError
from abc_tvm.files import open_regular, reason_of

FORMAT = 1
"""Version of the description and of the compiled function's calling convention."""

MAGIC = b"ABC-TVM\0"
_LENGTH = struct.Struct("<Q")
_DIGEST = 32
_FOOTER = len(MAGIC) + _LENGTH.size + _DIGEST

MOST_BYTES = 4 << 30
"""No loader takes a larger library of kernels; reading on would only take time."""

MOST_DESCRIPTION = 64 << 20

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Port:
    """An input or output: ONNX name, shape (a symbolic batch is its name), NumPy dtype."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class Info:
    """What an artifact says about itself.

    ``target`` has ``name``, ``triple``, ``cpu``, ``features`` and ``requires``: the instruction
    sets, by LLVM's names, without which the code must not run; for a GPU also ``gpu``, with the
    ``arch`` of its device code. ``layers`` are rows as ``abc_tvm.inspect`` gives them, and
    ``second_opinion`` is as its report has it.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    target: dict[str, Any]
    tvm: str
    lowering: str = "auto"
    second_opinion: dict[str, Any] | None = None
    layers: list[dict[str, Any]] = field(default_factory=list)
    abc_tvm: str = __version__
    format: int = FORMAT

    def refuse_gpu(self, path: str | os.PathLike[str], purpose: str) -> None:
        """Raise ``TargetError`` for code that runs on a GPU of this machine alone."""
        if "gpu" in self.target:
            raise TargetError(
                f"{path}: compiled for a GPU (target {self.target['name']}); {purpose} takes "
                "artifacts for processors: compile it for one"
            )

    @property
    def binarized(self) -> bool:
        """Whether any layer runs on bits."""
        return any(row.get("lowering", "float") != "float" for row in self.layers)


def pack(library: bytes, info: Info) -> bytes:
    """The bytes of an artifact's file."""
    description = json.dumps(asdict(info), separators=(",", ":")).encode()
    length = _LENGTH.pack(len(description))
    digest = hashlib.sha256(library + description + length).digest()
    return library + description + MAGIC + length + digest


def read_info(path: str | os.PathLike[str]) -> Info:
    """What the artifact at ``path`` says about itself; none of its code runs.

    Raises:
        ArtifactError: The file is missing, no artifact, cut short, damaged, or in the format of
            another version of this package.
    """
    name = os.fspath(path)
    with open_regular(path, ArtifactError) as stream:
        try:
            description = _description(stream, name)
        except OSError as error:
            raise ArtifactError(f"{name}: cannot be read: {reason_of(error)}") from error
    return _parse(description, name)


def _description(stream: BinaryIO, file: str) -> bytes:
    """The description, once the whole file is known to be what was written; in little memory."""
    size = os.fstat(stream.fileno()).st_size
    if stream.read(4) != b"\x7fELF":
        raise ArtifactError(f"{file}: not a shared library; give a file that abc-tvm compile wrote")
    stream.seek(max(size - _FOOTER, 0))
    footer = stream.read(_FOOTER)
    if len(footer) < _FOOTER or not footer.startswith(MAGIC):
        raise ArtifactError(
            f"{file}: cut short, or not written by abc-tvm compile (it has no description); "
            "copy or compile it again"
        )
    words = footer[len(MAGIC) : len(MAGIC) + _LENGTH.size]
    end = size - _FOOTER
    (length,) = _LENGTH.unpack(words)
    damaged = ArtifactError(f"{file}: damaged (its checksum differs); copy or compile it again")
    if length > min(end, MOST_DESCRIPTION) or size > MOST_BYTES:
        raise damaged
    digest = hashlib.sha256()
    stream.seek(0)
    left = end
    while left:
        block = stream.read(min(_BLOCK, left))
        if not block:
            raise damaged
        digest.update(block)
        left -= len(block)
    digest.update(words)
    if digest.digest() != footer[-_DIGEST:]:
        raise damaged
    stream.seek(end - length)
    return stream.read(length)


def _parse(description: bytes, file: str) -> Info:
    try:
        fields = json.loads(description)
        version = fields["format"]
        if version == FORMAT:
            for side in ("inputs", "outputs"):
                fields[side] = tuple(_port(port) for port in fields[side])
            info = Info(**fields)
            _check_types(info)
            return info
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{file}: its description cannot be read; compile it again") from error
    raise ArtifactError(
        f"{file}: compiled by abc-tvm {fields.get('abc_tvm')} in format {version}, and abc-tvm "
        f"{__version__} reads format {FORMAT}; compile it again"
    )


def _port(port: dict[str, Any]) -> Port:
    shape = tuple(port["shape"])
    if not all(type(extent) is str or (type(extent) is int and extent >= 0) for extent in shape):
        raise TypeError("a shape is of numbers and names")
    return Port(port["name"], shape, port["dtype"])


def _check_types(info: Info) -> None:
    """What other code takes for granted; raises ``TypeError``.

    The checksum tells damage from what was written, not who wrote it.
    """
    words = [word for port in (*info.inputs, *info.outputs) for word in (port.name, port.dtype)]
    words += [info.tvm, info.lowering, info.abc_tvm]
    words += [info.target[name] for name in ("name", "triple", "cpu")]
    words += [*info.target["features"], *info.target["requires"]]
    if "gpu" in info.target:
        words.append(info.target["gpu"]["arch"])
    if not all(isinstance(word, str) for word in words):
        raise TypeError("names are text")
    if not all(isinstance(row, dict) for row in info.layers):
        raise TypeError("layers are rows")
