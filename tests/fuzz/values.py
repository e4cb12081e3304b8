"""Tensors of a graph under construction, and how far a correct build may be from them.

Every node of a drawn graph is run at once, so the generator knows the values. With each float
tensor it keeps ``blur``: the largest deviation, element by element, of another order of summation.
It is measured, not derived: the node runs again on inputs moved by their blur. So a comparison
whose operand lies near its threshold shows as an output that jumps, and is not drawn; the zeros of
a Relu have no blur, since the numbers below them are clipped with it.

``exact`` says that all of it is arithmetic of small multiples of one power of two, in which every
order of summation gives the same floats: such outputs are compared for equality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

LEAST_BITS = 18
"""Values of an exact tensor need at most so many bits; float32 has 24, sums need some."""


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor: its name in the graph, what it holds, and its blur (same shape, float64).

    ``constant`` tensors are stored in the graph. ``batched``: its first dimension is the batch.
    """

    name: str
    array: Array
    blur: npt.NDArray[np.float64]
    exact: bool
    constant: bool = False
    batched: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def rank(self) -> int:
        return self.array.ndim

    @property
    def is_float(self) -> bool:
        return self.array.dtype.kind == "f"

    @property
    def dtype(self) -> str:
        return str(self.array.dtype)


def quantum(array: Array) -> float:
    """The largest power of two that divides all values; infinity where all are zero."""
    values = np.abs(array[array != 0].astype(np.float64))
    if not values.size:
        return float("inf")
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**53).astype(np.int64)
    return float(np.min(np.ldexp((whole & -whole).astype(np.float64), exponent - 53)))


def bits(array: Array) -> float:
    """How many bits hold the largest value as a multiple of the quantum."""
    step = quantum(array)
    if not np.isfinite(step):
        return 0.0
    return float(np.log2(np.max(np.abs(array.astype(np.float64))) / step)) + 1


def is_dyadic(array: Array) -> bool:
    """Whether sums and products of a few such tensors are exact in float32."""
    if array.dtype.kind != "f":
        return array.dtype.kind == "b" or not array.size or int(np.max(np.abs(array))) < 1 << 18
    return bool(np.isfinite(array).all()) and bits(array) <= LEAST_BITS
