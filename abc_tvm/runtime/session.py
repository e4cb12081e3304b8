"""A loaded artifact, ready to run."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np

from abc_tvm.errors import ArtifactError
from abc_tvm.runtime.container import Info, read_info
from abc_tvm.runtime.cuda_device import open_device
from abc_tvm.runtime.inputs import (
    PROCESSOR,
    Exchangeable,
    Given,
    Inputs,
    in_order,
    refuse_not_finite,
)
from abc_tvm.runtime.machine import check_machine
from abc_tvm.runtime.threads import default_threads, use_threads

_ALIGNMENT = 64
"""Bytes; TVM refuses to share memory that is aligned to less."""


class Session:
    """A network in memory. Make one with :func:`load`.

    Runs are serialised: several Python threads may share a session, and wait for each other.
    """

    def __init__(self, info: Info, machine: Any, threads: int, device: Any) -> None:
        self._info = info
        self._main = machine["main"]
        self._machine = machine
        self._threads = threads
        self._device = device
        self._on_processor = device.dlpack_device_type() == PROCESSOR
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

    @overload
    def run(self, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]: ...

    @overload
    def run(self, inputs: Mapping[str, Exchangeable] | Exchangeable) -> dict[str, Any]: ...

    def run(self, inputs: Inputs) -> dict[str, Any]:
        """Run the network once.

        Args:
            inputs: ONNX input name to array, of the shape and dtype in ``info.inputs`` (a
                symbolic batch may be any positive number); a single array where the network has
                one input. An array is NumPy's, or a tensor of any library that speaks DLPack.

        Returns:
            ONNX output name to a new array that the caller owns: NumPy's where all inputs are,
            else a tensor with ``__dlpack__`` (``torch.from_dlpack`` takes it) on the device of
            the first input that is another library's.

        Raises:
            InputError: A name is missing or unknown, a shape or dtype is wrong, or a binarized
                network gets NaN or infinity, which no bit can stand for (tensors in a GPU's
                memory are not searched for them); the message says what was given and what is
                needed.
        """
        arrays = in_order(self._info.inputs, inputs)
        with self._lock:
            use_threads(self._threads)
            shapes = tuple([tuple(int(n) for n in given.array.shape) for given in arrays])
            if shapes != self._shapes:
                self._stage(shapes)
            result = self._main(*self._placed(arrays))
            outputs = [result] if hasattr(result, "numpy") else list(result)
            foreign = next((given for given in arrays if given.foreign), None)
            ports = zip(self._info.outputs, outputs, strict=True)
            if foreign is None:
                return {port.name: item.numpy() for port, item in ports}
            back = _place(foreign)
            return {port.name: _on(item, back) for port, item in ports}

    def _placed(self, arrays: list[Given]) -> list[Any]:
        """The inputs in the memory of the network's device, checked where the processor sees them.

        A tensor that lies there already is used as it is.
        """
        tensors = list(self._tensors)
        for n, (port, given) in enumerate(zip(self._info.inputs, arrays, strict=True)):
            if not given.on_processor:
                tensors[n] = _on(given.array, self._device)
                continue
            np.copyto(self._staging[n], given.array)
            if self._binarized:
                refuse_not_finite(port, self._staging[n])
            if not self._on_processor:
                tensors[n].copyfrom(self._staging[n])
        return tensors

    def _stage(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Input buffers that NumPy writes and the network reads, kept from run to run."""
        import tvm

        ports = self._info.inputs
        self._staging = [_aligned(s, port.dtype) for s, port in zip(shapes, ports, strict=True)]
        if self._on_processor:
            self._tensors = [tvm.runtime.from_dlpack(array) for array in self._staging]
        else:
            self._tensors = [tvm.runtime.tensor(a, self._device) for a in self._staging]
        self._shapes = shapes


def _place(given: Given) -> Any:
    """TVM's handle of the device that an input lies on."""
    import tvm

    return tvm.cpu() if given.on_processor else given.array.device


def _on(tensor: Any, device: Any) -> Any:
    """A tensor on ``device``, finished: other libraries use streams of their own."""
    import tvm

    if tensor.device == device:
        device.sync()
        return tensor
    copy = tvm.runtime.empty(tensor.shape, str(tensor.dtype), device)
    tensor.copyto(copy)
    device.sync()
    return copy


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
        TargetError: It was compiled for a machine that this one is not, or for a GPU that is not
            there.
        InputError: ``threads`` is not possible.
    """
    file = Path(path)
    info = read_info(file)
    check_machine(file, info)
    count = default_threads() if threads is None else threads
    use_threads(count)
    import tvm
    import tvm_ffi
    from tvm import relax

    gpu = info.target.get("gpu")
    device = tvm.cpu() if gpu is None else open_device(str(file), gpu["arch"])
    try:
        with _own_name(file) as name:
            # TVM's own ``load_module`` follows links to the name behind them.
            machine = relax.VirtualMachine(tvm_ffi.load_module(name), device)
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[-200:]
        raise ArtifactError(f"{file}: cannot be loaded: {reason}") from error
    return Session(info, machine, count, device)


@contextmanager
def _own_name(file: Path) -> Iterator[str]:
    """A path of ``file`` that was never loaded: the loader takes an old name for the old library.

    A file that was written anew under its name would otherwise be what it was before.
    """
    with tempfile.TemporaryDirectory(prefix="abc-tvm-") as folder:
        link = Path(folder, file.name)
        link.symlink_to(file.resolve())
        yield str(link)


def _aligned(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
