"""A run on a GPU as one CUDA graph: its launches recorded once, then launched as a whole.

A recorded launch holds addresses, so a graph owns all memory behind them:

- Inputs are fixed tensors, which the caller fills before a launch.
- TVM lends the memory of intermediates and outputs from a pool that all sessions share. Whatever
  the virtual machine makes while it is recorded is kept with the graph, so nothing of it returns to
  the pool. Outputs are overwritten by the next launch: copy them.
- Workspace inside a kernel belongs to the thread that runs it, and is freed with that thread.
  So recording has a thread of its own, which lives as long as the session.

Nothing runs while it is recorded (CUDA Runtime API, stream capture).
"""

from __future__ import annotations

import ctypes
import weakref
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from abc_tvm.runtime.cuda_device import RUNTIME

MOST_BYTES = 256 << 20
"""Of tensors in a run that is recorded. Where they are larger, launching is not what takes time."""

_RELAXED = 2
"""cudaStreamCaptureModeRelaxed: another session may empty the pool, and cudaMalloc is harmless."""

_REFUSALS = (RuntimeError, OSError, ValueError, AttributeError)
"""What TVM raises where CUDA refuses a call."""


def on_default_stream(device: Any) -> bool:
    """Whether this thread launches on CUDA's default stream, as TVM's copies are.

    On another stream a graph would run beside the copies to its inputs and from its outputs.
    """
    import tvm_ffi

    return not tvm_ffi.get_raw_stream(device)


class RecordedGraph:
    """A recorded run. ``outputs`` are the tensors that a launch writes."""

    def __init__(
        self, runtime: Any, executable: Any, outputs: list[Any], memory: list[Any]
    ) -> None:
        self.outputs = outputs
        self._runtime = runtime
        self._executable = executable
        self._memory = memory
        weakref.finalize(self, runtime.cudaGraphExecDestroy, executable)

    def launch(self) -> bool:
        """Put the run on the default stream; whether CUDA took it."""
        taken = self._runtime.cudaGraphLaunch(self._executable, None) == 0
        if not taken:
            self._runtime.cudaGetLastError()  # else the caller's own next call finds it
        return taken


class Recorder:
    """Records runs of one virtual machine, which nobody else may use meanwhile."""

    def __init__(self, machine: Any, device: Any) -> None:
        self._machine = machine
        self._device = device
        self._runtime = ctypes.CDLL(RUNTIME)
        self._thread = ThreadPoolExecutor(1, "abc-tvm-graphs")

    def record(self, inputs: list[Any]) -> RecordedGraph | None:
        """A graph of a run on these tensors, or ``None`` where it cannot be recorded.

        The machine must have run before on inputs of these shapes: CUDA loads kernels when they
        are launched first, which it does not do in a recording.
        """
        try:
            future = self._thread.submit(self._record, inputs)
        except RuntimeError:  # there is no thread to be had, or Python is ending
            return None
        try:
            return future.result()
        finally:
            # Ctrl-C ends the waiting, not the recording, which still uses the machine.
            wait([future])

    def _record(self, inputs: list[Any]) -> RecordedGraph | None:
        import tvm_ffi

        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        stream = None
        try:
            self._run(inputs)  # its memory is in the pools then, for the recording to take
            self._device.sync()
            stream = self._device.create_raw_stream()
            with tvm_ffi.use_raw_stream(self._device, stream):
                self._ask("cudaStreamBeginCapture", ctypes.c_void_p(stream), _RELAXED)
                try:
                    outputs, memory = self._run(inputs)
                finally:
                    end = ctypes.c_void_p(stream), ctypes.byref(graph)
                    status = self._runtime.cudaStreamEndCapture(*end)
            _check(status, "cudaStreamEndCapture")
            instantiate = ctypes.byref(executable), graph, ctypes.c_ulonglong(0)
            self._ask("cudaGraphInstantiate", *instantiate)
            return RecordedGraph(self._runtime, executable, outputs, [*inputs, *memory])
        except _REFUSALS:
            return None
        finally:
            if graph:
                self._runtime.cudaGraphDestroy(graph)
            if stream is not None:
                self._device.free_raw_stream(stream)

    def _run(self, inputs: list[Any]) -> tuple[list[Any], list[Any]]:
        """Outputs of a run, and everything that the machine made in it."""
        memory: list[Any] = []
        size = 0

        def keep(_: Any, __: str, before: bool, value: Any, *___: Any) -> None:
            nonlocal size
            if before or value is None:
                return
            memory.append(value)
            if hasattr(value, "shape") and hasattr(value, "dtype"):
                count = int(np.prod([int(n) for n in value.shape], dtype=np.int64))
                size += count * np.dtype(str(value.dtype)).itemsize
            if size > MOST_BYTES:
                raise RuntimeError(f"the tensors of a run take more than {MOST_BYTES} bytes")

        self._machine.set_instrument(keep)
        try:
            result = self._machine["main"](*inputs)
        finally:
            self._machine.set_instrument(None)
        return ([result] if hasattr(result, "numpy") else list(result)), memory

    def _ask(self, name: str, *arguments: Any) -> None:
        _check(getattr(self._runtime, name)(*arguments), name)


def _check(status: int, name: str) -> None:
    if status:
        raise RuntimeError(f"{name}: CUDA error {status}")
