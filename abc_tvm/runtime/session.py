"""A loaded artifact, ready to run."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from abc_tvm.errors import ArtifactError
from abc_tvm.runtime.container import Info, read_info
from abc_tvm.runtime.inputs import in_order, refuse_not_finite
from abc_tvm.runtime.machine import check_machine
from abc_tvm.runtime.threads import default_threads, use_threads

_ALIGNMENT = 64
"""Bytes; TVM refuses to share memory that is aligned to less."""


class Session:
    """A network in memory. Make one with :func:`load`.

    Runs are serialised: several Python threads may share a session, and wait for each other.
    """

    def __init__(self, info: Info, machine: Any, threads: int) -> None:
        self._info = info
        self._main = machine["main"]
        self._machine = machine
        self._threads = threads
        self._lock = threading.Lock()
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._staging: list[np.ndarray] = []
        self._tensors: list[Any] = []
        self._binarized = info.binarized

    @property
    def info(self) -> Info:
        """What the artifact says about itself."""
        return self._info

    @property
    def threads(self) -> int:
        return self._threads

    @property
    def machine(self) -> Any:
        """TVM's virtual machine, for tools that look inside a run (``abc-tvm profile``)."""
        return self._machine

    def run(self, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Run the network once.

        Args:
            inputs: ONNX input name to array, of the shape and dtype in ``info.inputs`` (a
                symbolic batch may be any positive number); a single array where the network has
                one input.

        Returns:
            ONNX output name to a new array that the caller owns.

        Raises:
            InputError: A name is missing or unknown, a shape or dtype is wrong, or a binarized
                network gets NaN or infinity, which no bit can stand for; the message says what
                was given and what is needed.
        """
        arrays = in_order(self._info.inputs, inputs)
        with self._lock:
            use_threads(self._threads)
            shapes = tuple([a.shape for a in arrays])
            if shapes != self._shapes:
                self._stage(shapes)
            for port, staged, array in zip(self._info.inputs, self._staging, arrays, strict=True):
                np.copyto(staged, array)
                if self._binarized:
                    refuse_not_finite(port, staged)
            result = self._main(*self._tensors)
            if len(self._info.outputs) == 1 and hasattr(result, "numpy"):
                return {self._info.outputs[0].name: result.numpy()}
            return {
                port.name: item.numpy()
                for port, item in zip(self._info.outputs, result, strict=True)
            }

    def _stage(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Input buffers that NumPy writes and the network reads, kept from run to run."""
        from tvm.runtime import from_dlpack

        self._staging = [
            _aligned(shape, port.dtype)
            for shape, port in zip(shapes, self._info.inputs, strict=True)
        ]
        self._tensors = [from_dlpack(array) for array in self._staging]
        self._shapes = shapes


def load(path: str | os.PathLike[str], threads: int | None = None) -> Session:
    """Load a compiled network.

    The file's description is read and checked before any of its code is mapped.

    Args:
        path: What ``Artifact.save`` or ``abc-tvm compile`` wrote.
        threads: How many threads a run uses. By default ``TVM_NUM_THREADS`` if that was set
            when the process started, else the number of processors this process may use. See
            :mod:`abc_tvm.runtime.threads` for what TVM can do once it has made its pool.

    Raises:
        ArtifactError: The file is missing, damaged, no artifact, or of another version.
        TargetError: It was compiled for a machine that this one is not.
        InputError: ``threads`` is not possible.
    """
    file = Path(path)
    info = read_info(file)
    check_machine(file, info)
    count = default_threads() if threads is None else threads
    use_threads(count)
    import tvm
    from tvm import relax

    # The loader searches the system's folders for a path without a slash.
    name = str(file.resolve())
    try:
        machine = relax.VirtualMachine(tvm.runtime.load_module(name), tvm.cpu())
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[-200:]
        raise ArtifactError(f"{file}: cannot be loaded: {reason}") from error
    return Session(info, machine, count)


def _aligned(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
