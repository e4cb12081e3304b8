"""A loaded artifact, ready to run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np

from abc_tvm.errors import ArtifactError, InputError
from abc_tvm.runtime.container import Info, read_info
from abc_tvm.runtime.crews import Team, team
from abc_tvm.runtime.cuda_device import open_device
from abc_tvm.runtime.cuda_graph import Recorder, on_default_stream
from abc_tvm.runtime.forks import guard
from abc_tvm.runtime.inputs import (
    PROCESSOR,
    Exchangeable,
    Given,
    Inputs,
    in_order,
    refuse_not_finite,
)
from abc_tvm.runtime.machine import check_machine
from abc_tvm.runtime.staging import Staged, Staging
from abc_tvm.runtime.threads import check_threads, default_threads, use_threads
from abc_tvm.scratch import scratch

GRAPHS = 8
"""How many combinations of input shapes a session on a GPU keeps buffers and a CUDA graph for."""


class Session:
    """A network in memory. Make one with :func:`load`.

    Runs are serialised: several Python threads may share a session, and wait for each other. A
    forked child may go on with the sessions of its parent, except on a GPU.
    """

    def __init__(
        self, info: Info, machine: Any, threads: int, device: Any, cuda_graphs: bool = False
    ) -> None:
        self._info = info
        self._main = machine["main"]
        self._machine = machine
        self._threads = threads
        self._device = device
        self._on_processor = device.dlpack_device_type() == PROCESSOR
        self.lock = threading.RLock()
        """Held in a run; see :mod:`abc_tvm.runtime.forks`."""
        self._lost = ""
        # A GPU's kernels are launched by the thread that asks, on its own stream.
        self._team: Team | None = None
        if threads > 1 and self._on_processor:
            self._team = team(threads)
            self._team.enlist(self)
        self._recorder = None
        if cuda_graphs and not self._on_processor:
            self._recorder = Recorder(machine, device)
        self._staging = Staging(info.inputs, device, GRAPHS if self._recorder else 1)
        self._binarized = info.binarized
        guard(self)

    @property
    def info(self) -> Info:
        """What the artifact says about itself."""
        return self._info

    @property
    def threads(self) -> int:
        """Of one run, as many as were asked for; 1 is the thread of the caller."""
        return self._threads

    @property
    def machine(self) -> Any:
        """TVM's virtual machine, for tools that look inside a run (``abc-tvm profile``).

        A CUDA graph shows them nothing, and takes the instrument off: ``cuda_graphs=False``.
        """
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
                needed. Or this process was forked from one that had the session on a GPU, or
                in a run that took long.
        """
        arrays = in_order(self._info.inputs, inputs)
        with self.lock:
            if self._lost:
                raise InputError(self._lost)
            shapes = tuple([tuple(int(n) for n in given.array.shape) for given in arrays])
            staged = self._staging.of(shapes)
            outputs, lent = self._outputs(staged, arrays)
            foreign = next((given for given in arrays if given.foreign), None)
            ports = zip(self._info.outputs, outputs, strict=True)
            if foreign is None:
                return {port.name: item.numpy() for port, item in ports}
            back = _place(foreign)
            return {port.name: _on(item, back, lent) for port, item in ports}

    def _outputs(self, staged: Staged, arrays: list[Given]) -> tuple[list[Any], bool]:
        """The outputs, and whether the next run overwrites them.

        Shapes that come a second time are recorded, with one attempt at that.
        """
        tensors = self._placed(staged, arrays)
        staged.runs += 1
        if self._recorder is not None and on_default_stream(self._device):
            if staged.runs == 2:
                staged.graph = self._recorder.record(staged.tensors)
            if staged.graph is not None:
                for fixed, tensor in zip(staged.tensors, tensors, strict=True):
                    if tensor is not fixed:
                        fixed.copyfrom(tensor)
                if staged.graph.launch():
                    return staged.graph.outputs, True
                staged.graph = None
        if self._team is not None:
            result = self._team.run(self._main, *tensors)
        else:
            use_threads(1)
            result = self._main(*tensors)
        return ([result] if hasattr(result, "numpy") else list(result)), False

    def forked(self, in_run: bool) -> None:
        """What a forked child does first; see :mod:`abc_tvm.runtime.forks`."""
        self.lock = threading.RLock()
        if not self._on_processor:
            self._lost = (
                "session: CUDA does not survive a fork: start processes with multiprocessing's "
                "'spawn', and load the network there"
            )
        elif in_run:
            self._lost = (
                "session: another thread was in a run when this process was forked; load the "
                "network again"
            )

    def _placed(self, staged: Staged, arrays: list[Given]) -> list[Any]:
        """The inputs in the memory of the network's device, checked where the processor sees them.

        A tensor that lies there already is used as it is.
        """
        tensors = list(staged.tensors)
        for n, (port, given) in enumerate(zip(self._info.inputs, arrays, strict=True)):
            if not given.on_processor:
                tensors[n] = _on(given.array, self._device)
                continue
            np.copyto(staged.arrays[n], given.array)
            if self._binarized:
                refuse_not_finite(port, staged.arrays[n])
            if not self._on_processor:
                tensors[n].copyfrom(staged.arrays[n])
        return tensors


def _place(given: Given) -> Any:
    """TVM's handle of the device that an input lies on."""
    import tvm

    return tvm.cpu() if given.on_processor else given.array.device


def _on(tensor: Any, device: Any, lent: bool = False) -> Any:
    """A tensor on ``device``, finished: other libraries use streams of their own.

    One that is only ``lent`` is copied in any case.
    """
    import tvm

    if tensor.device == device and not lent:
        device.sync()
        return tensor
    copy = tvm.runtime.empty(tensor.shape, str(tensor.dtype), device)
    tensor.copyto(copy)
    device.sync()
    return copy


def load(
    path: str | os.PathLike[str], threads: int | None = None, *, cuda_graphs: bool = True
) -> Session:
    """Load a compiled network.

    The file's description is read and checked before any of its code is mapped.

    Args:
        path: What ``Artifact.save`` or ``abc-tvm compile`` wrote.
        threads: How many threads a run uses. By default ``TVM_NUM_THREADS`` if that was set
            when the process started, else the number of processors this process may use, which
            are also the most. With 1 a run stays in the thread that asks for it, see
            ``docs/runtime.md``. Kernels on a GPU need one thread, whatever is asked for.
        cuda_graphs: On a GPU, launch the kernels of a run as one CUDA graph from the second run
            with the same input shapes on. A graph keeps its own memory; the results are the same.

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
    check_threads(count)
    use_threads(1)
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
    return Session(info, machine, count, device, cuda_graphs)


@contextmanager
def _own_name(file: Path) -> Iterator[str]:
    """A path of ``file`` that was never loaded: the loader takes an old name for the old library.

    A file that was written anew under its name would otherwise be what it was before.
    """
    with scratch() as folder:
        link = Path(folder, file.name)
        link.symlink_to(file.resolve())
        yield str(link)
