"""Temporary folders, and machine code that never was in one.

A temporary folder that is full or cannot be written to is the user's to mend, so its errors are
``UserError``s that name it. LLVM, which writes objects itself, ends the whole process where it
cannot: so it writes to memory, and we to the disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from abc_tvm.errors import UserError
from abc_tvm.files import reason_of

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards.

    Raises:
        UserError: It cannot be made, or is full; the message says where it is.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="abc-tvm-")
    except OSError as error:
        # Python itself looks at TMPDIR, /tmp, /var/tmp and here for one that can be written to.
        raise unusable(error) from error
    try:
        with made as folder:
            yield Path(folder)
    except OSError as error:
        ours = str(error.filename or "").startswith(made.name)
        if error.errno in _FULL and (ours or error.filename is None):
            raise unusable(error) from error
        raise


def refuse_full(text: str) -> None:
    """Raise ``UserError`` where a tool that writes to the temporary folder says that it is full."""
    for number in _FULL:
        if os.strerror(number).lower() in text.lower():
            raise unusable(OSError(number, os.strerror(number)))


def unusable(error: OSError) -> UserError:
    """The error for a folder for temporary files that is full or cannot be written to."""
    where = tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp"
    return UserError(
        f"{where}: the folder for temporary files cannot be used: {reason_of(error)}; make room, "
        "or set TMPDIR to another folder"
    )


@contextmanager
def memory_files(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Inside, what is written under ``names`` in ``folder`` goes to memory, and is read from it.

    For LLVM, whose stream to a file calls ``report_fatal_error`` where the disk is full. The
    memory is Linux's; elsewhere nothing is done.
    """
    with ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            for name in names:
                handle = os.memfd_create("abc-tvm")
                stack.callback(os.close, handle)
                (folder / name).symlink_to(f"/proc/self/fd/{handle}")
        yield


def object_code(module: Any) -> bytes:
    """The object file of a module that LLVM has compiled."""
    name = "code.o"
    with scratch() as folder, memory_files(folder, [name]):
        module.write_to_file(str(folder / name), "o")
        return (folder / name).read_bytes()
