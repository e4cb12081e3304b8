"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from abc_tvm.errors import UserError


def write_atomically(
    path: str | os.PathLike[str], data: bytes, error: type[UserError] = UserError
) -> None:
    """Write ``data`` to ``path``: readers see the old file or the whole new one.

    The bytes go to a hidden file in the same folder, reach the disk, and are renamed. Whatever
    interrupts that (a full disk, Ctrl-C) leaves no file behind and the old one untouched.

    Raises:
        UserError: of the kind ``error``: the folder is missing, or cannot be written.
    """
    file = Path(path)
    check_writable(file, error)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise error(f"{file}: cannot be written: {problem.strerror}") from problem


def check_writable(path: str | os.PathLike[str], error: type[UserError] = UserError) -> None:
    """Refuse an output path early, before the work whose result it is to hold.

    Raises:
        UserError: of the kind ``error``: a directory, or in a folder that does not exist or
            that this user may not write to.
    """
    file = Path(path)
    if file.is_dir():
        raise error(f"{file}: is a directory; give the path of a file")
    if not file.parent.is_dir():
        raise error(f"{file}: the folder {file.parent} does not exist; create it first")
    if not os.access(file.parent, os.W_OK):
        raise error(f"{file}: the folder {file.parent} cannot be written to")
