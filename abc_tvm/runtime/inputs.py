"""What a network takes: names, shapes and dtypes of arrays, checked before it runs.

An array is NumPy's, or a tensor of any library that speaks DLPack, on the processor or on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from abc_tvm.errors import InputError
from abc_tvm.runtime.container import Port

PROCESSOR = 1
"""DLPack's kDLCPU."""


@runtime_checkable
class Exchangeable(Protocol):
    """A tensor that DLPack takes without a copy: torch's, CuPy's, JAX's, TVM's ..."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any:
        """DLPack's capsule."""

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Kind and number of the device that it lies on."""


Array: TypeAlias = "np.ndarray | Exchangeable"
Inputs: TypeAlias = "Mapping[str, Array] | Array"


@dataclass(frozen=True)
class Given:
    """One input: NumPy's view of it where the processor reaches it, else TVM's.

    ``foreign`` where it is another library's, which gets its results back as tensors.
    """

    array: Any
    foreign: bool = False

    @property
    def on_processor(self) -> bool:
        return isinstance(self.array, np.ndarray)


def in_order(ports: tuple[Port, ...], inputs: Inputs) -> list[Given]:
    """The arrays in the order of ``ports``, tensors of other libraries as views of them.

    Raises:
        InputError: A name is missing or unknown, or a shape or dtype is wrong.
    """
    if not isinstance(inputs, Mapping) and isinstance(inputs, Exchangeable):
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


def _view(array: object, what: str) -> Given:
    """NumPy's array itself, or a view of another library's tensor."""
    if isinstance(array, np.ndarray):
        return Given(array)
    if not isinstance(array, Exchangeable):
        raise InputError(
            f"{what}: expected a NumPy array or a tensor with __dlpack__, got "
            f"{type(array).__name__}"
        )
    try:
        if array.__dlpack_device__()[0] == PROCESSOR:
            return Given(np.from_dlpack(array), foreign=True)
        from tvm.runtime import from_dlpack

        return Given(from_dlpack(array), foreign=True)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{what}: DLPack does not take it: {reason}") from error


def _checked(port: Port, given: object, symbols: dict[str, int]) -> Given:
    what = f"input {port.name!r}"
    seen = _view(given, what)
    array = seen.array
    if str(array.dtype) != port.dtype:
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
            return seen
    wanted = "[" + ", ".join(str(d) for d in port.shape) + "]"
    raise InputError(f"{what}: shape {list(array.shape)} was given and {wanted} is needed")
