"""How a tensor of the ONNX graph lies in the compiled module, whose images are NHWC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

Move = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Lying:
    """Moves between a tensor ``[B, H, W, C]`` and the graph's own form of it."""

    name: str
    to_onnx: Move
    from_onnx: Move


SAME = Lying("same", lambda x: x, lambda x: x)
NCHW = Lying("nchw", lambda x: x.transpose(0, 3, 1, 2), lambda x: x.transpose(0, 2, 3, 1))

ROW = Lying("row", lambda x: x[:, 0].transpose(0, 2, 1), lambda x: x.transpose(0, 2, 1)[:, None])
TOKENS = Lying("tokens", lambda x: x[:, 0], lambda x: x[:, None])


def flat(height: int, width: int, channels: int, image_first: bool) -> Lying:
    """``[B, F]``, flattened from NHWC where ``image_first``, else from NCHW."""
    if image_first:
        return Lying(
            "flat_hwc",
            lambda x: x.reshape(len(x), -1),
            lambda x: x.reshape(-1, height, width, channels),
        )
    return Lying(
        "flat_chw",
        lambda x: x.transpose(0, 3, 1, 2).reshape(len(x), -1),
        lambda x: x.reshape(-1, channels, height, width).transpose(0, 2, 3, 1),
    )


def flat_or_tokens(height: int, width: int, channels: int, image_first: bool) -> Lying:
    """What a dense layer reads: ``[B, F]``, or tokens ``[B, …, T, F]`` in their order."""
    rows = flat(height, width, channels, image_first)

    def from_onnx(x: np.ndarray) -> np.ndarray:
        if x.ndim == 2:
            return rows.from_onnx(x)
        return x.reshape(len(x), prod(x.shape[1:-2]), *x.shape[-2:])

    return Lying("flat or tokens", rows.to_onnx, from_onnx)


def lyings(onnx: tuple[int, ...], relax: tuple[int, ...]) -> list[Lying]:
    """Every way in which a tensor of one shape can be one of the other; batches are left out."""
    if onnx[1:] == relax[1:]:
        return [SAME, NCHW] if len(onnx) == 4 and len(set(onnx[1:])) == 1 else [SAME]
    if len(relax) != 4 or any(d is None for d in relax[1:]):
        return []
    h, w, c = relax[1:]
    if onnx[1:] == (c, h, w):
        return [NCHW]
    if len(onnx) == 3 and h == 1:  # an image of one row, or tokens
        return [way for shape, way in (((c, w), ROW), ((w, c), TOKENS)) if onnx[1:] == shape]
    if len(onnx) == 2 and onnx[1] == prod(relax[1:]):
        ways = [flat(h, w, c, False), flat(h, w, c, True)]
        return ways[:1] if h == w == 1 else ways
    return []


def slices(onnx: tuple[int, ...], relax: tuple[int, ...]) -> list[Lying]:
    """Every way in which an image is one slice, along one axis, of a tensor of rank 5.

    The other slices get the same numbers in another order, so that what depends on them differs.
    """
    if len(onnx) != 5 or len(relax) != 4:
        return []
    h, w, c = relax[1:]
    ways = []
    for axis in range(1, 5):
        rest = onnx[1:axis] + onnx[axis + 1 :]
        for shape, inner in (((c, h, w), NCHW), ((h, w, c), SAME)):
            if rest == shape:
                ways += [_slice(axis, at, onnx[axis], inner) for at in range(onnx[axis])]
    return ways


def _slice(axis: int, at: int, count: int, inner: Lying) -> Lying:
    def to_onnx(x: np.ndarray) -> np.ndarray:
        mine = inner.to_onnx(x)
        flat, by = mine.reshape(-1), max(1, mine.size // count)
        parts = [np.roll(flat, by * (k - at)).reshape(mine.shape) for k in range(count)]
        return np.stack(parts, axis)

    return Lying(f"slice {at} of axis {axis}", to_onnx, lambda x: inner.from_onnx(x.take(at, axis)))


def kernel_of(weight: np.ndarray, kernel: tuple[int, int], way: str) -> np.ndarray:
    """OHWI of an ONNX weight: ``[OC, IC, KH, KW]``, or ``[OC, F]`` of a dense layer."""
    if weight.ndim == 4:
        return weight.transpose(0, 2, 3, 1)
    height, width = kernel
    if way == "flat_chw":
        return weight.reshape(len(weight), -1, height, width).transpose(0, 2, 3, 1)
    return weight.reshape(len(weight), height, width, -1)
