"""What a network takes: names, shapes and dtypes of arrays, checked before it runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from abc_tvm.errors import InputError
from abc_tvm.runtime.container import Port


def in_order(
    ports: tuple[Port, ...], inputs: Mapping[str, np.ndarray] | np.ndarray
) -> list[np.ndarray]:
    """The arrays in the order of ``ports``.

    Raises:
        InputError: A name is missing or unknown, or a shape or dtype is wrong.
    """
    if isinstance(inputs, np.ndarray):
        if len(ports) != 1:
            names = ", ".join(repr(p.name) for p in ports)
            raise InputError(
                f"the network has {len(ports)} inputs: give a dict with the keys {names}"
            )
        inputs = {ports[0].name: inputs}
    if not isinstance(inputs, Mapping):
        raise InputError(f"inputs: expected a dict of name to array, got {type(inputs).__name__}")
    if len(inputs) != len(ports) or any(p.name not in inputs for p in ports):
        raise InputError(_names_differ(list(inputs), [p.name for p in ports]))
    symbols: dict[str, int] = {}
    return [_checked(port, inputs[port.name], symbols) for port in ports]


def refuse_not_finite(port: Port, array: np.ndarray) -> None:
    """Raise ``InputError`` for NaN and infinity, which no bit can stand for."""
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if not finite.all():
        bad = finite.size - int(np.count_nonzero(finite))
        raise InputError(
            f"input {port.name!r}: {bad} values are NaN or infinite; a binarized network needs "
            "finite numbers"
        )


def _names_differ(given: list[str], wanted: list[str]) -> str:
    needed = ", ".join(repr(name) for name in wanted)
    got = ", ".join(repr(name) for name in given) or "none"
    return f"inputs: the network needs {needed}, and {got} was given"


def _checked(port: Port, array: np.ndarray, symbols: dict[str, int]) -> np.ndarray:
    what = f"input {port.name!r}"
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what}: expected a NumPy array, got {type(array).__name__}")
    if array.dtype != port.dtype:
        raise InputError(
            f"{what}: dtype {array.dtype} was given and {port.dtype} is needed; convert it with "
            f".astype('{port.dtype}')"
        )
    if len(array.shape) == len(port.shape):
        for have, want in zip(array.shape, port.shape, strict=True):
            if have == want:
                continue
            if isinstance(want, int) or have < 1 or symbols.setdefault(want, have) != have:
                break
        else:
            return array
    wanted = "[" + ", ".join(str(d) for d in port.shape) + "]"
    raise InputError(f"{what}: shape {list(array.shape)} was given and {wanted} is needed")
