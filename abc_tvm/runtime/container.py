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
from pathlib import Path
from typing import Any

from abc_tvm._version import __version__
from abc_tvm.errors import ArtifactError, TargetError

FORMAT = 1
"""Version of the description and of the compiled function's calling convention."""

MAGIC = b"ABC-TVM\0"
_LENGTH = struct.Struct("<Q")
_DIGEST = 32
_FOOTER = len(MAGIC) + _LENGTH.size + _DIGEST


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
    ``arch`` of its device code. ``layers`` are rows as ``abc_tvm.inspect`` gives them.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    target: dict[str, Any]
    tvm: str
    lowering: str = "auto"
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
    file = Path(path)
    return _parse(_description(_read(file), file), file)


def _read(file: Path) -> bytes:
    if file.is_dir():
        raise ArtifactError(f"{file}: is a directory; give the path of a compiled .so file")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArtifactError(f"{file}: cannot be read: {reason}") from error


def _description(data: bytes, file: Path) -> bytes:
    if not data.startswith(b"\x7fELF"):
        raise ArtifactError(f"{file}: not a shared library; give a file that abc-tvm compile wrote")
    footer = data[-_FOOTER:]
    if not footer.startswith(MAGIC):
        raise ArtifactError(
            f"{file}: cut short, or not written by abc-tvm compile (it has no description); "
            "copy or compile it again"
        )
    size = footer[len(MAGIC) : len(MAGIC) + _LENGTH.size]
    end = len(data) - _FOOTER
    (length,) = _LENGTH.unpack(size)
    content = memoryview(data)[:end]
    digest = hashlib.sha256(content)
    digest.update(size)
    if length > end or digest.digest() != footer[-_DIGEST:]:
        raise ArtifactError(f"{file}: damaged (its checksum differs); copy or compile it again")
    return bytes(content[end - length :])


def _parse(description: bytes, file: Path) -> Info:
    try:
        fields = json.loads(description)
        version = fields["format"]
        if version == FORMAT:
            for side in ("inputs", "outputs"):
                fields[side] = tuple(
                    Port(p["name"], tuple(p["shape"]), p["dtype"]) for p in fields[side]
                )
            return Info(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file}: its description cannot be read; compile it again") from error
    raise ArtifactError(
        f"{file}: compiled by abc-tvm {fields.get('abc_tvm')} in format {version}, and abc-tvm "
        f"{__version__} reads format {FORMAT}; compile it again"
    )
