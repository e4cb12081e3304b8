"""What a folder of records is for: one target, one version of TVM and of this compiler."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from abc_tvm._version import __version__
from abc_tvm.errors import RecordsError
from abc_tvm.files import read_regular, write_atomically
from abc_tvm.targets import Device

FILE = "manifest.json"
MOST_BYTES = 1 << 20


def identity(device: Device) -> dict[str, Any]:
    """What must be equal for a record to hold: instructions, not the number of cores."""
    return {
        "triple": device.triple,
        "cpu": device.cpu,
        "isa": device.isa,
        "features": sorted(device.features),
        **({} if device.gpu is None else {"arch": device.gpu.arch}),
    }


def folder_name(device: Device) -> str:
    """The name of the folder of a target: its processor, and a digest of its identity."""
    text = json.dumps(identity(device), sort_keys=True)
    name = device.cpu if device.gpu is None else device.gpu.arch
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass
class Manifest:
    """``manifest.json``. ``settings`` are those of the last run, for ``--continue``."""

    target: dict[str, Any]
    tvm: str
    abc_tvm: str
    machine: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def here(device: Device) -> Manifest:
        """The manifest of a folder that this version makes on this machine."""
        return Manifest(identity(device), metadata.version("apache-tvm"), __version__, _machine())

    @staticmethod
    def read(folder: Path) -> Manifest | None:
        """The manifest of ``folder``; ``None`` if there is none. Raises ``RecordsError``."""
        path = folder / FILE
        try:
            if not path.exists():
                return None
            value = json.loads(read_regular(path, RecordsError, MOST_BYTES))
            if not isinstance(value, dict) or not _NEEDED <= value.keys() <= _FIELDS:
                raise TypeError(f"it must hold {', '.join(sorted(_NEEDED))}, and nothing unknown")
            manifest = Manifest(**value)
            if not (isinstance(manifest.target, dict) and isinstance(manifest.settings, dict)):
                raise TypeError("target and settings are tables")
            return manifest
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RecordsError(
                f"{path}: not a manifest of tuning records: {error}: restore or remove the folder"
            ) from error

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
        write_atomically(folder / FILE, text.encode(), RecordsError)

    def mismatch(self, wanted: Manifest) -> str | None:
        """In which field the folder is not for ``wanted``; ``None``: it is."""
        for name in ("target", "tvm", "abc_tvm"):
            mine, other = getattr(self, name), getattr(wanted, name)
            if mine != other:
                return f"{name} {_short(mine)}, not {_short(other)}"
        return None


_FIELDS = {entry.name for entry in fields(Manifest)}
_NEEDED = {"target", "tvm", "abc_tvm"}


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join([value.get("cpu", "?"), *value.get("features", [])])


def _machine() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "model name"), "")
