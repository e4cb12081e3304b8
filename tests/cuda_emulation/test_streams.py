"""Streams and graphs of the emulation: what CUDA refuses during capture is refused there."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.cuda_emulation import emulation
from tests.cuda_emulation.test_emulation import WHERE, launch

GLOBAL, THREAD_LOCAL, RELAXED = range(3)
UNSUPPORTED, INVALIDATED, IMPLICIT, WRONG_THREAD = 900, 901, 906, 908


class Stream:
    """A stream, and the calls on it; ``end`` and ``launch`` give a status."""

    def __init__(self, blocking: bool = False) -> None:
        self.runtime: Any = emulation.runtime()
        self.handle, self.graph, self.executable = (ctypes.c_void_p() for _ in range(3))
        flags = 0 if blocking else 1
        assert self.runtime.cudaStreamCreateWithFlags(ctypes.byref(self.handle), flags) == 0

    def begin(self, mode: int = RELAXED) -> int:
        return int(self.runtime.cudaStreamBeginCapture(self.handle, mode))

    def copy(self, to: np.ndarray, source: np.ndarray) -> int:
        pointers = ctypes.c_void_p(to.ctypes.data), ctypes.c_void_p(source.ctypes.data)
        size = ctypes.c_size_t(to.nbytes)
        return int(self.runtime.cudaMemcpyAsync(*pointers, size, 4, self.handle))

    def end(self) -> int:
        return int(self.runtime.cudaStreamEndCapture(self.handle, ctypes.byref(self.graph)))

    def launch(self) -> int:
        """Of what was captured, on the default stream."""
        if not self.executable:
            target = ctypes.byref(self.executable)
            assert self.runtime.cudaGraphInstantiate(target, self.graph, ctypes.c_ulonglong(0)) == 0
            assert self.runtime.cudaGraphDestroy(self.graph) == 0
        return int(self.runtime.cudaGraphLaunch(self.executable, None))


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream()
    yield made
    made.runtime.cudaStreamEndCapture(made.handle, ctypes.byref(made.graph))
    assert made.runtime.cudaStreamDestroy(made.handle) == 0
    made.runtime.cudaGetLastError()


@pytest.fixture
def arrays() -> list[np.ndarray]:
    return [np.arange(128, dtype=np.uint32), np.zeros(128, np.uint32)]


def allocate() -> int:
    pointer = ctypes.c_void_p()
    status = int(emulation.runtime().cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(64)))
    if not status:
        emulation.runtime().cudaFree(pointer)
    return status


def test_what_is_captured_runs_when_its_graph_is_launched(
    stream: Stream, arrays: list[np.ndarray]
) -> None:
    """Launches and copies, in order, with the parameters as they were."""
    a, b = arrays
    assert stream.begin() == 0
    assert launch(WHERE + "b[i] = a[i] + 1;", [a, b], stream=stream.handle.value or 0) == 0
    assert stream.copy(a, b) == 0
    assert stream.end() == 0
    assert not b.any()
    for n in range(3):
        assert stream.launch() == 0
        np.testing.assert_array_equal(a, np.arange(128) + n + 1)
    assert stream.runtime.cudaGraphExecDestroy(stream.executable) == 0
    assert stream.launch() == 1


@pytest.mark.parametrize("mode", [GLOBAL, THREAD_LOCAL, RELAXED])
def test_allocating_during_capture(stream: Stream, mode: int, arrays: list[np.ndarray]) -> None:
    assert stream.begin(mode) == 0
    status = allocate()
    assert status == (0 if mode == RELAXED else UNSUPPORTED)
    assert stream.copy(*arrays) == (INVALIDATED if status else 0)
    assert stream.end() == (INVALIDATED if status else 0)
    assert allocate() == 0


@pytest.mark.parametrize("mode", [GLOBAL, THREAD_LOCAL, RELAXED])
def test_allocating_in_another_thread(stream: Stream, mode: int) -> None:
    found: list[int] = []
    assert stream.begin(mode) == 0
    thread = threading.Thread(target=lambda: found.append(allocate()))
    thread.start()
    thread.join()
    assert found == [UNSUPPORTED if mode == GLOBAL else 0]
    assert stream.end() == (INVALIDATED if mode == GLOBAL else 0)


def test_waiting_for_a_stream_that_is_captured(stream: Stream) -> None:
    assert stream.begin() == 0
    assert stream.runtime.cudaStreamSynchronize(stream.handle) == UNSUPPORTED
    assert stream.end() == INVALIDATED
    assert stream.runtime.cudaGetLastError() == INVALIDATED
    assert stream.runtime.cudaGetLastError() == 0


def test_the_default_stream(arrays: list[np.ndarray]) -> None:
    """It cannot be captured, and waits for blocking streams, which spoils their capture."""
    for blocking in (True, False):
        stream = Stream(blocking)
        assert stream.runtime.cudaStreamBeginCapture(None, RELAXED) == UNSUPPORTED
        assert stream.begin() == 0
        status = launch(WHERE + "b[i] = a[i];", arrays)
        assert status == (IMPLICIT if blocking else 0)
        assert arrays[1].any() != blocking
        assert stream.end() == (INVALIDATED if blocking else 0)
        assert stream.runtime.cudaStreamDestroy(stream.handle) == 0


def test_ending_in_another_thread(stream: Stream) -> None:
    for mode, wanted in ((RELAXED, 0), (THREAD_LOCAL, WRONG_THREAD)):
        found: list[int] = []
        assert stream.begin(mode) == 0
        thread = threading.Thread(target=lambda: found.append(stream.end()))  # noqa: B023
        thread.start()
        thread.join()
        assert found == [wanted]
