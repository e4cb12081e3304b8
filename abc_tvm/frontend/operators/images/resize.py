"""Resize and Upsample, axis by axis, as rows of the image and their weights.

TVM's operator resizes the last axes of a batch of images, takes the ratio of the sizes for the
scale, and rounds halves in ways of its own. Here the sampling places are computed at compile time,
in onnxruntime's float32 arithmetic: an axis that is sampled at whole pixels is a Gather, any other
a weighted sum of as many Gathers as the kernel has taps. Left to TVM is nearest neighbour with
whole factors, which every runtime reads alike.

1. nearest: one tap; ``nearest_mode`` rounds the place.
2. linear: two taps, places held within the image.
3. cubic: four taps, the image's edge repeated, or with ``exclude_outside`` left out and the rest
   scaled up.
4. ``tf_crop_and_resize``: places outside the image get ``extrapolation_value``.

Refused: ``antialias`` where it shrinks an axis; a fractional size in the modes on whose meaning
there onnx and onnxruntime differ; linear and cubic on integers; scales, sizes or a region that the
network computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from abc_tvm.frontend.graph_edit import Array, Attributes, attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter

F32 = np.float32
Floats = NDArray[np.float32]
_SYMMETRIC = "half_pixel_symmetric"
_CROP = "tf_crop_and_resize"


_MOST_TAPS = 4
"""Pixels that make one, along an axis."""


@dataclass(frozen=True)
class Axis:
    """One resized axis: ``size`` pixels become ``count``, ``scale`` times as many."""

    axis: int
    size: int
    count: int
    scale: np.float32
    start: float = 0.0
    end: float = 1.0

    @property
    def exact(self) -> bool:
        """Whether the new size is what the scale says, nothing rounded."""
        return float(self.scale) * self.size == self.count or F32(self.count) / F32(
            self.size
        ) == F32(self.scale)


@dataclass(frozen=True)
class Taps:
    """For each new pixel the pixels that it is made of: ``rows`` and ``weights`` ``[count, taps]``.

    ``outside [count]`` marks pixels that are extrapolated.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    outside: NDArray[np.bool_]


def resize(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Resize and Upsample as Gathers, and weighted sums of Gathers, axis by axis.

    ``False`` where the node stays: nearest neighbour with whole factors.
    """
    attrs = attributes(node)
    mode = attrs.get("mode", "nearest")
    if edit.opset < 11:
        coordinates, rounding = "asymmetric", "simple"
        axes = _scaled(edit, node, spell.stored(edit, node, 1, "scales"))
    else:
        coordinates = attrs.get("coordinate_transformation_mode", "half_pixel")
        rounding = attrs.get("nearest_mode", "round_prefer_floor")
        axes = _axes(edit, node, attrs, coordinates)
        if _is_plain(node, axes, mode, coordinates, rounding):
            return False
    if coordinates == "tf_half_pixel_for_nn" and mode != "nearest":
        raise edit.refuse(node, f"has {coordinates} with mode {mode}; use half_pixel")
    if coordinates == _CROP and attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise edit.refuse(node, f"has {coordinates} with keep_aspect_ratio_policy; use stretch")
    if any(a.count < 1 for a in axes):
        raise edit.refuse(node, "leaves nothing of an axis; give larger sizes")
    if attrs.get("antialias") and mode != "nearest" and any(a.scale < 1 for a in axes):
        raise edit.refuse(node, "has antialias where it shrinks an image; export it without")
    _resample(edit, node, axes, mode, coordinates, rounding)
    return True


def upsample(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Upsample, which is Resize of opset 10; its scales are an attribute before opset 9."""
    attrs = attributes(node)
    scales = np.asarray(attrs["scales"], F32) if "scales" in attrs else None
    if scales is None:
        scales = spell.stored(edit, node, 1, "scales")
    axes = _scaled(edit, node, scales)
    _resample(edit, node, axes, attrs.get("mode", "nearest"), "asymmetric", "simple")
    return True


def _axes(edit: Rewriter, node: onnx.NodeProto, attrs: Attributes, coordinates: str) -> list[Axis]:
    """The axes that Resize of opset 11 or later changes."""
    rank = spell.rank_of(edit, node, node.input[0])
    scales = spell.stored(edit, node, 2, "scales")
    sizes = _sizes(edit, node)
    which = [a % rank for a in attrs.get("axes") or range(rank)]
    roi = spell.stored(edit, node, 1, "roi") if coordinates == _CROP else None
    if roi is not None and roi.size != 2 * len(which):
        raise edit.invalid(node, f"needs {2 * len(which)} numbers in roi")
    if (scales is None or not scales.size) == (sizes is None or not sizes.size):
        raise edit.invalid(node, "needs either scales or sizes")
    if scales is not None and scales.size:
        axes = _scaled(edit, node, scales, which)
    else:
        policy = attrs.get("keep_aspect_ratio_policy", "stretch")
        axes = _sized(edit, node, np.asarray(sizes), which, policy)
    if roi is None:
        return axes
    bounds = roi.reshape(2, -1)
    places = {axis: (float(bounds[0, i]), float(bounds[1, i])) for i, axis in enumerate(which)}
    return [Axis(a.axis, a.size, a.count, a.scale, *places[a.axis]) for a in axes]


def _sizes(edit: Rewriter, node: onnx.NodeProto) -> Array | None:
    """Sizes that are stored, or that ONNX's inference follows through a computed shape.

    An extent that stays symbolic must be the input's own; it counts as unchanged, which -1 says.
    """
    name = spell.given(node, 3)
    if not name or edit.value(name) is not None or attributes(node).get("axes"):
        return spell.stored(edit, node, 3, "sizes")
    new, old = edit.shapes.get(node.output[0]), edit.shapes.get(node.input[0])
    if new is None or old is None or len(new) != len(old):
        return spell.stored(edit, node, 3, "sizes")
    entries = [-1 if isinstance(n, str) and n == o else n for n, o in zip(new, old, strict=True)]
    if not all(isinstance(n, int) for n in entries):
        return spell.stored(edit, node, 3, "sizes")
    return np.asarray(entries, np.int64)


def _scaled(
    edit: Rewriter, node: onnx.NodeProto, scales: Array | None, which: list[int] | None = None
) -> list[Axis]:
    rank = spell.rank_of(edit, node, node.input[0])
    which = list(range(rank)) if which is None else which
    if scales is None or scales.size != len(which) or not (scales > 0).all():
        raise edit.invalid(node, f"needs {len(which)} positive scales")
    values = scales.reshape(-1).astype(F32)
    axes_scaled = []
    for axis, scale in zip(which, values, strict=True):
        if scale != 1 or _fixed(edit, node, axis):
            (size,) = spell.extents(edit, node, node.input[0], [axis])
            axes_scaled.append(Axis(axis, size, int(scale * F32(size)), scale))
    return axes_scaled


def _sized(
    edit: Rewriter, node: onnx.NodeProto, sizes: Array, which: list[int], policy: str
) -> list[Axis]:
    if sizes.size != len(which) or not sizes.all():
        raise edit.invalid(node, f"needs {len(which)} positive sizes")
    pairs = [(a, int(n)) for a, n in zip(which, sizes.reshape(-1), strict=True) if n != -1]
    which, targets = [a for a, _ in pairs], [n for _, n in pairs]
    old = spell.extents(edit, node, node.input[0], which)
    scales = [F32(n) / F32(size) for n, size in zip(targets, old, strict=True)]
    if policy != "stretch":
        one = min(scales) if policy == "not_larger" else max(scales)
        scales = [one] * len(scales)
        targets = [int(np.floor(one * F32(size) + F32(0.5))) for size in old]
    rows = zip(which, old, targets, scales, strict=True)
    return [Axis(axis, size, target, scale) for axis, size, target, scale in rows]


def _fixed(edit: Rewriter, node: onnx.NodeProto, axis: int) -> bool:
    return isinstance(edit.shapes[node.input[0]][axis], int)


def _is_plain(
    node: onnx.NodeProto, axes: list[Axis], mode: str, coordinates: str, rounding: str
) -> bool:
    """Nearest neighbour by whole factors on the last axes, which TVM imports right."""
    changed = [a for a in axes if a.count != a.size or a.scale != 1]
    return (
        mode == "nearest"
        and (coordinates, rounding) == ("asymmetric", "floor")
        and all(a.axis >= 2 and a.count == a.scale * a.size for a in changed)
        and all(float(a.scale).is_integer() for a in changed)
        and not attributes(node).get("axes")
        and len(changed) > 0
    )


def _resample(
    edit: Rewriter,
    node: onnx.NodeProto,
    axes: list[Axis],
    mode: str,
    coordinates: str,
    rounding: str,
) -> None:
    x, out = node.input[0], node.output[0]
    attrs = attributes(node)
    dtype = edit.dtype(x) or np.dtype(F32)
    if mode != "nearest":
        dtype = spell.real(edit, node, x)
    rank = spell.rank_of(edit, node, x)
    moved = [a for a in axes if a.scale != 1 or (a.start, a.end) != (0, 1)]
    if moved and all(a.count == a.size for a in axes):
        raise edit.refuse(
            node,
            "keeps the size but not the scale, on which runtimes differ; remove it",
        )
    outside = np.zeros((1,) * rank, bool)
    edit.refuse_table(node, max((a.count * _MOST_TAPS for a in axes), default=0))
    for a in axes:
        if a.scale == 1 and coordinates != _CROP:
            continue
        places = _places(edit, node, a, coordinates)
        if mode == "nearest":
            _check_halves(edit, node, a, places, coordinates, rounding)
        taps = _taps(a, places, mode, rounding, attrs, coordinates == _CROP)
        shape = [-1 if axis == a.axis else 1 for axis in range(rank)]
        if taps.outside.any():
            outside = outside | taps.outside.reshape(shape)
            edit.refuse_table(node, outside.size)
        x = _sampled(edit, node, x, a, taps, dtype, shape)
    if outside.any():
        value = spell.like(edit, attrs.get("extrapolation_value", 0.0), dtype, f"{out}/outside")
        x = edit.op(node, "Where", edit.constant(outside, f"{out}/mask"), value, x)
    edit.op(node, "Identity", x, out=out)


def _places(edit: Rewriter, node: onnx.NodeProto, a: Axis, coordinates: str) -> Floats:
    """Where each new pixel lies among the old ones: onnxruntime's arithmetic, in its order."""
    x = np.arange(a.count, dtype=F32)
    size, count, half = F32(a.size), F32(a.count), F32(0.5)
    match coordinates:
        case "asymmetric":
            return x / a.scale
        case "half_pixel":
            return (x + half) / a.scale - half
        case "pytorch_half_pixel":
            return (x + half) / a.scale - half if a.count > 1 else x * 0
        case "tf_half_pixel_for_nn":
            return (x + half) / a.scale
        case "half_pixel_symmetric":
            return _offset(a) + ((x + half) / a.scale) - half
    if not a.exact:
        raise edit.refuse(
            node, f"has {coordinates} with a scale that gives a fractional size; give sizes"
        )
    if coordinates == "align_corners":
        return x * (size - 1) / (count - 1) if a.count > 1 else x * 0
    if coordinates == _CROP:
        start, end = F32(a.start), F32(a.end)
        if a.count > 1:
            return start * (size - 1) + (x * (end - start) * (size - 1)) / (count - 1)
        return half * (start + end) * (size - 1) + x * 0
    raise edit.invalid(node, f"has the unknown coordinate_transformation_mode {coordinates!r}")


def _offset(a: Axis) -> np.float32:
    """What ``half_pixel_symmetric`` moves the image by, where its size was rounded."""
    size = F32(a.size)
    return size / F32(2) * (F32(1) - F32(a.count) / (a.scale * size))


def _check_halves(
    edit: Rewriter,
    node: onnx.NodeProto,
    a: Axis,
    places: Floats,
    coordinates: str,
    rounding: str,
) -> None:
    """Refuse a place so near to where rounding turns that onnxruntime's own is not known."""
    x = np.arange(a.count)
    if coordinates == _SYMMETRIC:
        exact = float(_offset(a)) + (x + 0.5) / float(a.scale) - 0.5
    elif (coordinates, rounding) == ("asymmetric", "round_prefer_ceil"):
        exact = x / float(a.scale)
    else:
        return
    if (_rounded(places, rounding, a.scale) != _rounded(exact, rounding, a.scale)).any():
        raise edit.refuse(
            node, f"has {coordinates} with places halfway between pixels; use half_pixel"
        )


def _taps(a: Axis, places: Floats, mode: str, rounding: str, attrs: Attributes, crop: bool) -> Taps:
    last = a.size - 1
    outside = (places < 0) | (places > last) if crop else np.zeros(places.shape, bool)
    if mode == "nearest":
        rows = np.clip(_rounded(places, rounding, a.scale), 0, last)[:, None]
        return Taps(rows, np.ones(rows.shape), outside)
    if mode == "linear":
        held = np.clip(places, 0, F32(last))
        low = np.minimum(held.astype(np.int64), last)
        part = (held - low.astype(F32)).astype(np.float64)
        rows = np.stack([low, np.minimum(low + 1, last)], 1)
        return Taps(rows, np.stack([1 - part, part], 1), outside)
    low = np.floor(places).astype(np.int64)
    rows = low[:, None] + np.arange(-1, 3)
    weights = _cubic((places - low.astype(F32)).astype(np.float64), attrs)
    if attrs.get("exclude_outside"):
        weights = np.where((rows >= 0) & (rows <= last), weights, 0)
        weights = weights / weights.sum(1, keepdims=True)
    return Taps(np.clip(rows, 0, last), weights, outside)


def _rounded(places: Floats, rounding: str, scale: np.float32) -> NDArray[np.int64]:
    """``nearest_mode``; "simple" is what opsets before 11 do."""
    match rounding:
        case "simple":
            rounded = np.ceil(places) if scale < 1 else np.trunc(places)
        case "floor":
            rounded = np.floor(places)
        case "ceil":
            rounded = np.ceil(places)
        case "round_prefer_ceil":
            rounded = np.floor(places + F32(0.5))
        case _:
            rounded = np.ceil(places - F32(0.5))
    return np.asarray(rounded, np.int64)


def _cubic(part: NDArray[np.float64], attrs: Attributes) -> NDArray[np.float64]:
    """Weights ``[count, 4]`` of Keys' kernel for pixels -1, 0, 1, 2 around a place."""
    c = float(F32(attrs.get("cubic_coeff_a", -0.75)))

    def near(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((c + 2) * t - (c + 3)) * t * t + 1

    def far(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((c * t - 5 * c) * t + 8 * c) * t - 4 * c

    return np.stack([far(part + 1), near(part), near(1 - part), far(2 - part)], 1)


def _sampled(
    edit: Rewriter,
    node: onnx.NodeProto,
    x: str,
    a: Axis,
    taps: Taps,
    dtype: np.dtype[Any],
    shape: list[int],
) -> str:
    """``x`` resampled along one axis."""
    same = np.arange(a.size)
    used = [t for t in range(taps.rows.shape[1]) if taps.weights[:, t].any()]
    total = ""
    for t in used:
        rows, weights = taps.rows[:, t], taps.weights[:, t]
        part = x if np.array_equal(rows, same) else spell.take(edit, node, x, rows.tolist(), a.axis)
        if not (weights == 1).all():
            factors = spell.like(edit, weights.reshape(shape), dtype, f"{node.output[0]}/weights")
            part = edit.op(node, "Mul", part, factors)
        total = edit.op(node, "Add", total, part) if total else part
    return total


REWRITES = {"Resize": resize, "Upsample": upsample}
