"""How much memory there is, so that what could never fit is refused with both numbers."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from abc_tvm.errors import UserError


def available() -> int:
    """Bytes that this process may still take: of the machine, or of its own limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        limits.append(int(free.split()[1]) * 1024)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        limits.append(limit)
    return min(limits)


def refuse_more(wanted: int, what: str, error: type[UserError] = UserError) -> None:
    """Refuse what takes more memory than there is, before it is asked for.

    Raises:
        UserError: of the kind ``error``.
    """
    there = available()
    if wanted > there:
        raise error(
            f"{what} would take {wanted / 1e9:,.1f} GB, and {there / 1e9:,.1f} GB are available; "
            "make the batch or the network smaller"
        )
