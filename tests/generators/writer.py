"""What every emitter needs: the builder, the seed's choices, and the layout in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .graph import GraphBuilder

T = TypeVar("T")


class Writer:
    """Appends nodes to a builder, in NCHW, or in NHWC with Transposes as tf2onnx writes them."""

    def __init__(self, builder: GraphBuilder, rng: np.random.Generator, nhwc: bool = False) -> None:
        self.builder = builder
        self.rng = rng
        self.nhwc = nhwc
        self.op = builder.op
        self.qonnx = builder.qonnx
        self.ints = builder.ints

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, drawn."""
        return choices[int(self.rng.integers(len(choices)))]

    def flip(self) -> bool:
        """A fair coin."""
        return bool(self.rng.random() < 0.5)

    def const(self, value: npt.ArrayLike) -> str:
        """A float32 constant of the value's own shape."""
        return self.builder.constant(value)

    def channels(self, vector: npt.ArrayLike) -> str:
        """A per-channel float32 vector, shaped to broadcast over the activations."""
        array = np.asarray(vector)
        return self.const(array if self.nhwc else array.reshape(-1, 1, 1))

    def enter(self, x: str) -> str:
        """An NCHW tensor in the layout in force."""
        return self.op("Transpose", x, perm=[0, 2, 3, 1]) if self.nhwc else x

    def leave(self, x: str) -> str:
        """A tensor of the layout in force as NCHW."""
        return self.op("Transpose", x, perm=[0, 3, 1, 2]) if self.nhwc else x

    def nchw_op(self, op_type: str, x: str, *inputs: str, **attributes: Any) -> str:
        """One operator that ONNX defines on NCHW only, between Transposes if need be."""
        return self.enter(self.op(op_type, self.leave(x), *inputs, **attributes))

    def add_all(self, terms: Sequence[str]) -> str:
        """The sum of the terms: one Sum, or a chain of Adds."""
        if len(terms) == 1:
            return terms[0]
        if self.flip():
            return self.op("Sum", *terms)
        total = terms[0]
        for term in terms[1:]:
            total = self.op("Add", total, term)
        return total

    def scale(self, x: str, factor: float) -> str:
        """``x * factor``; a factor of 1 is sometimes left out."""
        if factor == 1.0 and self.flip():
            return x
        return self.op("Mul", x, self.const(factor))
