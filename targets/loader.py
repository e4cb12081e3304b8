"""A device by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from abc_tvm.errors import TargetError
from abc_tvm.targets import cuda, native
from abc_tvm.targets.device import Device
from abc_tvm.targets.files import CUDA, NATIVE, names, read, shipped


def load(name_or_path: str) -> Device:
    """The device of that name, of that ``.toml`` file, or one that is detected.

    ``native`` is the machine we run on, ``cuda`` its first GPU. Raises ``TargetError`` for an
    unknown name, an unreadable or malformed file, and where nothing is detected.
    """
    if name_or_path == NATIVE:
        return native.detect()
    if name_or_path == CUDA:
        return cuda.detect()
    if name_or_path.endswith(".toml"):
        return read(Path(name_or_path))
    known = names()
    if name_or_path in known:
        return shipped(name_or_path)
    close = difflib.get_close_matches(name_or_path, (NATIVE, CUDA, *known), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise TargetError(
        f"unknown target {name_or_path!r}: {hint}There are {NATIVE}, {CUDA}, {', '.join(known)}, "
        "and any path to a .toml file"
    )
