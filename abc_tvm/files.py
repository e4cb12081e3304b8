"""Files are read only where they are files, and appear whole or not at all.

What is read may be named by somebody else, or mistyped: a pipe, a device or ``/dev/zero`` would
hang or fill the memory, so nothing but a regular file is opened. What is written replaces a file
only where that is of the same kind (see :mod:`abc_tvm.file_kinds`), is none of the command's own
inputs, and lies where its name says: a link could lead anywhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from abc_tvm.errors import UserError
from abc_tvm.file_kinds import Kind

StrPath = str | os.PathLike[str]

_OTHER_THAN_FILES = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: StrPath, error: type[UserError] = UserError) -> BinaryIO:
    """Open a regular file for reading; anything else is refused at once, and never opened.

    Raises:
        UserError: of the kind ``error``: missing, unreadable, or no regular file.
    """
    name = os.fspath(path)
    try:
        # Looked at first, because opening a device or a pipe may have effects of its own.
        other = _what_else(Path(name).stat().st_mode)
        if other is None:
            handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            stream = os.fdopen(handle, "rb")
            other = _what_else(os.fstat(handle).st_mode)
            if other is None:
                return stream
            stream.close()
    except FileNotFoundError:
        raise error(f"{name}: no such file") from None
    except (OSError, ValueError) as problem:
        raise error(f"{name}: cannot be read: {reason_of(problem)}") from problem
    raise error(f"{name}: is {other}; give the path of a file")


def refuse_other(path: StrPath, error: type[UserError] = UserError) -> None:
    """Refuse what is there and is no regular file, before it is opened to be written to."""
    file = Path(path)
    other = _what_else(file.stat().st_mode) if file.exists() else None
    if other is not None:
        raise error(f"{file}: is {other}; remove it, or take another folder")


def read_regular(
    path: StrPath, error: type[UserError] = UserError, most: int | None = None
) -> bytes:
    """The whole content of a regular file, of at most ``most`` bytes.

    Raises:
        UserError: of the kind ``error``: as :func:`open_regular`, or the file is larger.
    """
    with open_regular(path, error) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            if most is not None and size > most:
                raise error(
                    f"{os.fspath(path)}: has {size:,} bytes, more than the {most:,} that such a "
                    "file may have"
                )
            return stream.read() if most is None else stream.read(most)
        except OSError as problem:
            reason = reason_of(problem)
            raise error(f"{os.fspath(path)}: cannot be read: {reason}") from problem
        except MemoryError as problem:
            raise error(f"{os.fspath(path)}: is too large for this machine's memory") from problem


def write_atomically(
    path: StrPath, data: bytes, error: type[UserError] = UserError, kind: Kind | None = None
) -> None:
    """Write ``data`` to ``path``: readers see the old file or the whole new one.

    The bytes go to a hidden file in the same folder, reach the disk, and are renamed. Whatever
    interrupts that (a full disk, Ctrl-C) leaves no file behind and the old one untouched.

    Raises:
        UserError: of the kind ``error``: see :func:`check_output`; or it cannot be written.
    """
    file = Path(path)
    check_output(file, error, kind)
    part = file.with_name(f".abc-tvm-{secrets.token_hex(8)}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
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
        raise error(f"{file}: cannot be written: {reason_of(problem)}") from problem


def check_output(
    path: StrPath,
    error: type[UserError] = UserError,
    kind: Kind | None = None,
    inputs: Iterable[StrPath] = (),
) -> None:
    """Refuse an output path early, before the work whose result it is to hold.

    Args:
        path: Where the result will be written.
        error: What is raised.
        kind: What the file will be. Its name must end so, and a file that is there already must
            be of this kind, or empty.
        inputs: What the command reads; the output may be none of them, by whatever name.

    Raises:
        UserError: of the kind ``error``, with the rule that ``path`` breaks.
    """
    file = Path(path)
    try:
        _check_place(file, error)
        if kind is not None and not file.name.endswith(kind.suffix):
            raise error(f"{file}: {kind.name} needs a name that ends in {kind.suffix}")
        if not os.path.lexists(file):
            return
        for given in inputs:
            if Path(given).exists() and file.samefile(given):
                raise error(
                    f"{file}: is also what is read ({os.fspath(given)}); give the result another "
                    "name"
                )
        if not os.access(file, os.W_OK):
            raise error(f"{file}: is write-protected; remove it first, or give another name")
        if kind is not None and file.stat().st_size > 0:
            with open_regular(file, error) as stream:
                if not kind.holds(stream):
                    raise error(
                        f"{file}: is there already and is not {kind.name}, so it is not replaced; "
                        "remove it first, or give another name"
                    )
    except (OSError, ValueError) as problem:
        raise error(f"{file}: cannot be written: {reason_of(problem)}") from problem


def _check_place(file: Path, error: type[UserError]) -> None:
    if not file.parent.is_dir():
        raise error(f"{file}: the folder {file.parent} does not exist; create it first")
    if os.path.lexists(file):
        mode = os.lstat(file).st_mode
        if stat.S_ISLNK(mode):
            raise error(
                f"{file}: is a symbolic link (to {file.readlink()}); give the name of the file "
                "itself"
            )
        other = _what_else(mode)
        if other is not None:
            raise error(f"{file}: is {other}; give the path of a file")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise error(f"{file}: the folder {file.parent} cannot be written to")


def make_folder(path: StrPath, error: type[UserError] = UserError) -> Path:
    """Create a folder, and those above it, where it is not there.

    Raises:
        UserError: of the kind ``error``: it cannot be created, or is something else.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:
        raise error(f"{folder}: cannot be created: {reason_of(problem)}") from problem
    return folder


def reason_of(problem: BaseException) -> str:
    """What the system says, in words; ``EFBIG`` and its like have none of their own."""
    text = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return text if getattr(problem, "errno", None) != errno.ELOOP else "its links go in a circle"


def _what_else(mode: int) -> str | None:
    """What a file is that is no regular file; ``None`` for one."""
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _OTHER_THAN_FILES if test(mode)), "no regular file")
