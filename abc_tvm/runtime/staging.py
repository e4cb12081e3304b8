"""Input buffers, kept from run to run for the shapes that were used last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from abc_tvm.runtime.container import Port
from abc_tvm.runtime.cuda_graph import RecordedGraph
from abc_tvm.runtime.inputs import PROCESSOR

Shapes = tuple[tuple[int, ...], ...]

_ALIGNMENT = 64
"""Bytes; TVM refuses to share memory that is aligned to less."""


@dataclass
class Staged:
    """What one combination of input shapes keeps: NumPy writes ``arrays``, ``tensors`` are read.

    On the processor the two share their memory. ``graph`` is a recorded run on ``tensors``.
    """

    arrays: list[np.ndarray]
    tensors: list[Any]
    graph: RecordedGraph | None = None
    runs: int = 0


class Staging:
    """The last ``most`` combinations of shapes; the one that was not used for longest goes."""

    def __init__(self, ports: tuple[Port, ...], device: Any, most: int) -> None:
        self._ports = ports
        self._device = device
        self._most = most
        self._kept: OrderedDict[Shapes, Staged] = OrderedDict()

    def of(self, shapes: Shapes) -> Staged:
        """What is kept for these shapes, new where they were not used of late."""
        staged = self._kept.get(shapes)
        if staged is None:
            while len(self._kept) >= self._most:
                self._kept.popitem(last=False)
            staged = self._kept[shapes] = self._new(shapes)
        self._kept.move_to_end(shapes)
        return staged

    def _new(self, shapes: Shapes) -> Staged:
        import tvm

        ports = zip(shapes, self._ports, strict=True)
        arrays = [_aligned(shape, port.dtype) for shape, port in ports]
        if self._device.dlpack_device_type() == PROCESSOR:
            return Staged(arrays, [_shared(array) for array in arrays])
        return Staged(arrays, [tvm.runtime.tensor(array, self._device) for array in arrays])


def _shared(array: np.ndarray) -> Any:
    """TVM's view of an array; one of no elements is a tensor of its own."""
    import tvm

    return tvm.runtime.from_dlpack(array) if array.size else tvm.runtime.tensor(array)


def _aligned(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
