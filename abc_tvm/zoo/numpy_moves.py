"""NumPy meanings of the ONNX operators that only move values, as the zoo's networks use them.

Each function takes the node's input arrays, in ONNX order, and its attributes, as they are in
opsets 13 to 17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]


def _concat(inputs: Sequence[Array], attributes: Attributes) -> Array:
    return np.concatenate(inputs, axis=attributes["axis"])


def _pad(inputs: Sequence[Array], attributes: Attributes) -> Array:
    x, pads, *fill = inputs
    sides = list(zip(pads[: x.ndim].tolist(), pads[x.ndim :].tolist(), strict=True))
    if attributes.get("mode", "constant") == "edge":
        return np.pad(x, sides, mode="edge")
    return np.pad(x, sides, constant_values=float(fill[0]) if fill else 0.0)


def _reshape(inputs: Sequence[Array], _: Attributes) -> Array:
    x, shape = inputs
    dims = [size or x.shape[axis] for axis, size in enumerate(shape.tolist())]
    return x.reshape(dims)


def _resize(inputs: Sequence[Array], _: Attributes) -> Array:
    """Repeat along every axis: nearest, by whole factors."""
    x, _roi, scales = inputs
    for axis, scale in enumerate(scales.tolist()):
        x = np.repeat(x, round(scale), axis)
    return x


def _slice(inputs: Sequence[Array], _: Attributes) -> Array:
    x, starts, ends, axes, steps = inputs
    places = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places[axis] = slice(int(start), int(end), int(step))
    return x[tuple(places)]


MOVES: dict[str, Callable[[Sequence[Array], Attributes], Array]] = {
    "Concat": _concat,
    "Expand": lambda inputs, _: np.broadcast_to(inputs[0], inputs[1].tolist()),
    "Flatten": lambda inputs, _: inputs[0].reshape(len(inputs[0]), -1),
    "Gather": lambda inputs, attributes: inputs[0].take(inputs[1], attributes["axis"]),
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda inputs, _: np.array(inputs[0].shape, np.int64),
    "Slice": _slice,
    "Squeeze": lambda inputs, _: np.squeeze(inputs[0], tuple(inputs[1].tolist())),
    "Transpose": lambda inputs, attributes: inputs[0].transpose(attributes["perm"]),
    "Unsqueeze": lambda inputs, _: np.expand_dims(inputs[0], tuple(inputs[1].tolist())),
}
