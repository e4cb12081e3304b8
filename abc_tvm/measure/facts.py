"""Where and with what something was measured."""

from __future__ import annotations

import contextlib
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("abc-tvm", "apache-tvm", "numpy", "onnx", "onnxruntime", "torch")


def here() -> dict[str, Any]:
    """``machine``, ``date`` (UTC) and ``versions`` for the JSON of a measurement."""
    return {
        "machine": machine_name(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": versions(),
    }


def machine_name() -> str:
    """The processor as Linux names it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a measurement depends on, if installed."""
    known = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            known[package] = metadata.version(package)
    return known
