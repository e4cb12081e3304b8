"""Devices on the disk: one TOML file each, here or anywhere else.

What a file says is checked, and what is not known is refused in one line.
"""

from __future__ import annotations

import difflib
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from abc_tvm.errors import TargetError
from abc_tvm.files import read_regular
from abc_tvm.schedules import families
from abc_tvm.targets.device import B1, Cost, Device, Gpu

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NATIVE = "native"
CUDA = "cuda"
OPTIONAL = frozenset({"runtime", "in_order", "gpu"})
"""Fields that a file may leave out."""

MOST_BYTES = 1 << 20
"""Of a file that describes a device."""

MOST = (1 << 31) - 1
"""Largest count: LLVM and TVM keep them in 32 bits."""

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of the shipped devices, sorted; ``native`` and ``cuda`` are not among them."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def shipped(name: str) -> Device:
    """A device of :func:`names`."""
    return read(_FOLDER / f"{name}.toml")


def read(path: Path) -> Device:
    """The device of a file.

    Raises ``TargetError`` where it cannot be read, or says what no device can.
    """
    try:
        table = tomllib.loads(read_regular(path, TargetError, MOST_BYTES).decode())
    except RecursionError as error:
        raise TargetError(f"{path}: not valid TOML: nested too deeply") from error
    except ValueError as error:  # no UTF-8, no TOML, or a number of too many digits for Python
        raise TargetError(f"{path}: not valid TOML: {error}") from error
    return _device(table, path)


def _device(table: dict[str, Any], path: Path) -> Device:
    """Check a parsed file against the fields of ``Device``, whose file stem is its name."""
    _check_keys(table, [f.name for f in fields(Device) if f.name != "name"], path, OPTIONAL)
    cost = table["cost"]
    if not isinstance(cost, dict):
        raise _wrong(path, "cost", "a table [cost]")
    _check_keys(cost, [f.name for f in fields(Cost)], path, frozenset({"dot"}), prefix="cost.")
    device = Device(
        name=path.stem,
        description=_text(table, "description", path),
        triple=_text(table, "triple", path),
        cpu=_text(table, "cpu", path),
        features=_features(table["features"], path),
        isa=_text(table, "isa", path),
        vector_bits=_count(table, "vector_bits", path),
        vector_registers=_count(table, "vector_registers", path),
        cores=_count(table, "cores", path),
        l1d_kib=_count(table, "l1d_kib", path),
        l2_kib=_count(table, "l2_kib", path),
        l3_kib=_count(table, "l3_kib", path, least=0),
        cost=Cost(
            pair=_ratio(cost["pair"], "pair", path),
            dot=_ratio(cost["dot"], "dot", path) if "dot" in cost else None,
        ),
        runtime=_truth(table, "runtime", path, default=True),
        in_order=_truth(table, "in_order", path, default=False),
        gpu=_gpu(table["gpu"], path) if "gpu" in table else None,
    )
    _check_family(device, path)
    return device


def _check_family(device: Device, path: Path) -> None:
    """Refuse a device that its family does not serve."""
    family = families.facts(device.isa)
    if family is None:
        known = families.names()
        close = difflib.get_close_matches(device.isa, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise _wrong(path, "isa", f"one of {', '.join(known)}, not {device.isa!r}{hint}")
    if device.cost.dot is not None and not family.int8:
        raise TargetError(
            f"{path}: the field cost.dot must be left out: the family {device.isa} has no dot "
            "products of bytes"
        )
    if family.gpu and device.gpu is None:
        raise TargetError(f"{path}: the field gpu is missing: the family {device.isa} is for GPUs")
    if device.gpu is not None and not family.gpu:
        raise TargetError(
            f"{path}: the field gpu must be left out: the family {device.isa} is for processors"
        )


def _gpu(table: object, path: Path) -> Gpu:
    """Check the table ``[gpu]``."""
    if not isinstance(table, dict):
        raise _wrong(path, "gpu", "a table [gpu]")
    _check_keys(table, [f.name for f in fields(Gpu)], path, prefix="gpu.")
    arch, b1 = table["arch"], table["b1"]
    if not isinstance(arch, str) or re.fullmatch("sm_[0-9]{2,3}", arch) is None:
        raise _wrong(path, "gpu.arch", 'the name of a real architecture, such as "sm_80"')
    if b1 not in B1:
        raise _wrong(path, "gpu.b1", f"one of {', '.join(B1)}")
    numbers = [f.name for f in fields(Gpu) if f.name not in ("arch", "b1")]
    counts = {name: _count(table, name, path, prefix="gpu.") for name in numbers}
    return Gpu(arch=arch, b1=b1, **counts)


def _check_keys(
    table: dict[str, Any],
    wanted: list[str],
    path: Path,
    optional: frozenset[str] = frozenset(),
    prefix: str = "",
) -> None:
    for key in table:
        if key not in wanted:
            close = difflib.get_close_matches(key, wanted, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(wanted)}"
            raise TargetError(f"{path}: unknown field {prefix}{key}: {hint}")
    for key in wanted:
        if key not in table and key not in optional:
            raise TargetError(f"{path}: the field {prefix}{key} is missing")


def _wrong(path: Path, field: str, wanted: str) -> TargetError:
    return TargetError(f"{path}: the field {field} must be {wanted}")


def _text(table: dict[str, Any], key: str, path: Path) -> str:
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise _wrong(path, key, "a string that is not empty")
    return value


def _count(table: dict[str, Any], key: str, path: Path, least: int = 1, prefix: str = "") -> int:
    value = table[key]
    # TOML's true is an int to Python.
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(path, prefix + key, f"an integer of at least {least}")
    if value > MOST:
        raise _wrong(path, prefix + key, f"an integer of at most {MOST}")
    return value


def _truth(table: dict[str, Any], key: str, path: Path, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(path, key, "true or false")
    return value


def _features(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(item, str) and len(item) > 1 and item[0] in "+-" for item in value
    ):
        raise _wrong(path, "features", 'a list of strings such as "+avx2" or "-avx512f"')
    return tuple(value)


def _ratio(value: object, key: str, path: Path) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e6:
        raise _wrong(path, f"cost.{key}", "a number above 0 (one float32 multiply-add is 1.0)")
    return float(value)
