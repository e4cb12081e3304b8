"""Which tensor of the ONNX graph each layer reads, and what the compiled levels are there.

A compiled layer reads bits, or codes, or levels in float: an index into few levels. The tensors
that stand there in the ONNX graph are the data inputs of the layer's convolution or dense node;
where the graph spells the bases out, of several nodes, and the index stands for all their values
together. What an index means is looked up in onnxruntime's own tensors, run on the same inputs:
the compiler's levels where onnxruntime has no others, else the value that onnxruntime has most
often where the compiled network has that index. A wrong meaning cannot hide a fault: onnxruntime
goes on from it, and everything after must then agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from abc_tvm.checks.verify.bits import BitInput, is_coded
from abc_tvm.layer_names import DENSE, layer_nodes
from abc_tvm.relay_passes.lowerings.bit_products import PRODUCT
from abc_tvm.relay_passes.rewrite import bindings, constant, hint, op_name

MOST_LEVELS = 256
SAMPLE = 1 << 15
SURE = 0.75
"""Share of the places of each index at which a base has one value, where it follows the index."""

FEW = 16
"""Places of an index that tell nothing of its share."""

SAME_ORDER = ("Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that leave the elements of a tensor in their order."""

Array = np.ndarray


@dataclass
class Point:
    """The input of one compiled layer, and the ONNX tensors there."""

    layer: str
    var: Any
    item: BitInput | None
    """How bits are decoded; ``None`` for levels in float."""
    tensors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Meaning:
    """The compiled tensor as values of the ONNX tensors, each with its shape and type.

    ``index`` int ``[B, H, W, C]``; ``values`` float64 ``[K]`` for each tensor; ``order`` says how
    each lies: ``"chw"``, ``"hwc"``, or ``"hcw"``, as a right factor of a product does.
    """

    index: Array
    values: dict[str, Array]
    order: dict[str, str]

    def array(self, name: str, like: Array) -> Array:
        """The tensor ``name``, in shape and type like onnxruntime's."""
        turned = layouts(self.index, like.shape)[self.order[name]]
        return np.asarray(self.values[name][turned].astype(like.dtype))

    def holds(self, wanted: dict[str, Array]) -> bool:
        """Whether all tensors follow the index, but for flips."""
        return all(
            follows(self.index, (self.order[name], values, 1.0), wanted[name])
            for name, values in self.values.items()
        )

    def turned(self, name: str, array: Array) -> Array:
        """An array like the tensor ``name`` as ``[B, H, W, C]``."""
        if self.order[name] == "hwc":
            return array.reshape(self.index.shape)
        b, h, w, c = self.index.shape
        if self.order[name] == "hcw":
            return np.moveaxis(array.reshape(b, h, c, w), 2, 3)
        return np.moveaxis(array.reshape(b, c, h, w), 1, 3)


def data_inputs(simple: onnx.ModelProto, standard: onnx.ModelProto) -> dict[str, str]:
    """Node name to the tensor that it reads, for convolutions and dense layers of stored weights.

    Names are those of :mod:`abc_tvm.layer_names`. The tensor is one of ``standard``: where
    ``simple`` reshapes it for the layer (one axis becomes an image of one row), the one before. A
    layer whose input is only in ``simple``, or is the network's own, has none: "".
    """
    stored = {tensor.name for tensor in simple.graph.initializer}
    made = {name: node for node in standard.graph.node for name in node.output}
    by_output = {name: node for node in simple.graph.node for name in node.output}
    tensors: dict[str, str] = {}
    for name, node in layer_nodes(simple):
        if node.input[1] not in stored:
            continue
        data = node.input[0]
        while data not in made and data in by_output and by_output[data].op_type in SAME_ORDER:
            data = by_output[data].input[0]
        if data not in made and node.output[0] in made:
            data = made[node.output[0]].input[0]
        tensors[name] = data if data in made else ""
    return tensors


def factor_inputs(simple: onnx.ModelProto, standard: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Node name to both factors, for products of two computed tensors; "" where one is in
    ``simple`` alone."""
    stored = {tensor.name for tensor in simple.graph.initializer}
    made = {name for node in standard.graph.node for name in node.output}
    return {
        name: tuple(factor if factor in made else "" for factor in node.input)
        for name, node in layer_nodes(simple)
        if node.op_type == "MatMul" and not stored.intersection(node.input)
    }


def layouts(array: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    """The ways in which ``[B, H, W, C]`` can lie in a tensor of ``shape``."""
    arrays = {}
    ways = (
        ("chw", np.moveaxis(array, 3, 1)),
        ("hwc", array),
        ("hcw", np.moveaxis(array, 3, 2)),
    )
    for order, turned in ways:
        fits = turned.size == np.prod(shape, dtype=np.int64)
        if fits and (turned.shape == shape or len(shape) != 4):
            arrays[order] = turned.reshape(shape)
    return arrays


def indices(array: Array) -> tuple[Array, Array] | None:
    """Index and levels of a float tensor; ``None`` where it has too many."""
    if array.ndim != 4 or len(np.unique(array.reshape(-1)[:4096])) > MOST_LEVELS:
        return None
    levels, index = np.unique(array, return_inverse=True)
    if len(levels) > MOST_LEVELS or not np.all(np.isfinite(levels)):
        return None
    return index.reshape(array.shape), levels.astype(np.float64)


def is_discrete(array: Array) -> bool:
    """Whether a tensor has few values, as a step function leaves."""
    if array.dtype.kind != "f" or array.size == 0:
        return False
    flat = array.reshape(-1)
    return len(np.unique(flat[:4096])) <= 64 and len(np.unique(flat)) <= MOST_LEVELS


def meaning(
    index: Array, levels: Array, tensors: list[str], wanted: dict[str, Array]
) -> Meaning | None:
    """What indices stand for in ``tensors``; ``None`` where a tensor has another size."""
    values, order = {}, {}
    for name in tensors:
        entry = look_up(index, levels, wanted[name], single=len(tensors) == 1)
        if entry is None:
            return None
        order[name], values[name], _ = entry
    return Meaning(index, values, order)


def look_up(
    index: Array, levels: Array, wanted: Array, *, single: bool
) -> tuple[str, Array, float] | None:
    """``(order, values [K], share)`` of one tensor; the share of places that fit the values."""
    best: tuple[str, Array, float] | None = None
    for order, turned in layouts(index, wanted.shape).items():
        here, there = _sample(turned, wanted)
        values = _decoded(levels, there) if single else None
        if values is None:
            values = _learned(here, there, levels)
            _complete(values, turned.reshape(-1), wanted.reshape(-1))
        fits = float(np.mean(np.abs(values[here] - there) <= tolerance(values)))
        if best is None or fits > best[2]:
            best = order, values, fits
    return best


def follows(index: Array, entry: tuple[str, Array, float], wanted: Array) -> bool:
    """Whether a tensor is a function of the index, but for flips."""
    order, values, _ = entry
    here, there = _sample(layouts(index, wanted.shape)[order], wanted)
    right = np.abs(values[here] - there) <= tolerance(values)
    seen = np.bincount(here, minlength=len(values))
    hits = np.bincount(here[right], minlength=len(values))
    often = seen >= FEW
    return bool(np.all(hits[often] >= SURE * seen[often]))


def tolerance(values: Array) -> float:
    """How far a value may be from a level and still be that level."""
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-6 * np.abs(distinct).max(initial=0)]
    return float(gaps.min() / 8) if gaps.size else 1e-5 * float(np.abs(distinct).max(initial=0))


def _sample(turned: Array, wanted: Array) -> tuple[Array, Array]:
    here, there = turned.reshape(-1), wanted.reshape(-1).astype(np.float64)
    if here.size > SAMPLE:
        chosen = np.random.default_rng(0).integers(0, here.size, SAMPLE)
        here, there = here[chosen], there[chosen]
    return here, there


def _decoded(levels: Array, there: Array) -> Array | None:
    """The compiler's levels, where onnxruntime's values are among them."""
    ordered = np.sort(levels)
    place = np.searchsorted((ordered[1:] + ordered[:-1]) / 2, there)
    off = np.abs(ordered[place] - there).max(initial=0)
    return levels if off <= min(tolerance(levels), 1e-4 * np.abs(levels).max()) else None


def _learned(here: Array, there: Array, levels: Array) -> Array:
    values = np.full(len(levels), np.nan)
    for number in np.unique(here):
        seen = there[here == number]
        middle = (len(seen) - 1) // 2
        values[number] = np.partition(seen, middle)[middle]
    return values


def _complete(values: Array, index: Array, wanted: Array) -> None:
    """Fill in, in place, what the sample did not meet; 0 where nothing does."""
    for number in np.nonzero(np.isnan(values))[0]:
        seen = np.sort(wanted[index == number])
        values[number] = seen[(len(seen) - 1) // 2] if len(seen) else 0.0


def assign_bases(
    points: list[tuple[Point, Array, Array]], names: list[str], wanted: dict[str, Array]
) -> None:
    """Give every tensor of ``names``, a base of no layer of its own, to the layer it follows.

    ``points`` come with index and levels.
    """
    for name in names:
        best, share = None, 0.0
        for point, index, levels in points:
            entry = look_up(index, levels, wanted[name], single=False)
            if entry is None or entry[2] <= share or len(set(entry[1])) == 1:
                continue
            if follows(index, entry, wanted[name]):
                best, share = point, entry[2]
        if best is not None and name not in best.tensors:
            best.tensors.append(name)


@dataclass
class Points:
    """All points of a network.

    ``tensors`` are ONNX tensors that a convolution or dense layer reads; ``loose`` those that are
    not yet at a point: bases of layers that the graph spells out. ``weights`` are those
    that the graph computes.
    """

    points: list[Point]
    tensors: list[str]
    loose: list[str]
    weights: list[str]

    def settle(self, wanted: dict[str, Array]) -> None:
        """Leave out layers in float whose input takes many values, as onnxruntime has it."""
        self.points = [
            p for p in self.points if p.item or all(is_discrete(wanted[n]) for n in p.tensors)
        ]

    def assign(self, pairs: list[tuple[Point, Array, Array]], wanted: dict[str, Array]) -> None:
        """Find the layers of the loose tensors; ``pairs`` as ``points`` of :func:`assign_bases`.

        Where there are any, layers have been joined: one that reads a sum of several activations
        stands at none of their tensors.
        """
        loose = [n for n in self.loose if wanted[n].dtype.kind == "f"]
        if self.loose:
            for point, index, levels in pairs:
                for name in list(point.tensors):
                    place = look_up(index, levels, wanted[name], single=False)
                    if place is not None and not follows(index, place, wanted[name]):
                        point.tensors.remove(name)
                        loose.append(name)
        assign_bases(pairs, loose, wanted)
        self.loose = []


def find_points(
    encoded: Any, items: list[BitInput], simple: onnx.ModelProto | None, standard: onnx.ModelProto
) -> Points:
    """The points of a module after the pass ``encode``; ``items`` are its packed tensors."""
    data = {} if simple is None else data_inputs(simple, standard)
    on_bits = {hint(v) for v, call in bindings(encoded["main"]) if op_name(call) == PRODUCT}
    factors = {} if simple is None else factor_inputs(simple, standard)
    factors = {name: both for name, both in factors.items() if name in on_bits}
    points: list[Point] = []
    own = set(encoded["main"].params)
    for name, source, tensor, packed in _reads(encoded, data, factors):
        if source in own or constant(source) is not None:
            continue
        point = next((p for p in points if p.var.same_as(source)), None)
        if point is None:
            item = next((i for i in items if i.var.same_as(source)), None) if packed else None
            if not packed and not tensor:
                continue
            point = Point(name, source, item)
            points.append(point)
        if tensor and tensor not in point.tensors and not point.tensors:
            point.tensors.append(tensor)
    taken = {name for point in points for name in point.tensors}
    every = [*data.values(), *(name for both in factors.values() for name in both)]
    tensors = list(dict.fromkeys(name for name in every if name))
    loose = [name for name in tensors if name not in taken]
    return Points(points, tensors, loose, _computed_weights(standard))


def _reads(
    encoded: Any, data: dict[str, str], factors: dict[str, tuple[str, ...]]
) -> Iterator[tuple[str, Any, str, bool]]:
    """What layers read: a layer's name, the variable, the ONNX tensor or "", and whether it is
    packed."""
    for var, value in bindings(encoded["main"]):
        name = hint(var)
        if op_name(value) == PRODUCT:
            for source, tensor in zip(value.args, factors.get(name, ("", "")), strict=True):
                yield name, source, tensor, True
        elif is_coded(value):
            yield name, value.args[0], data.get(name, ""), True
        elif op_name(value) == "nn.conv2d" and str(value.attrs.data_layout) == "NHWC":
            yield name, value.args[0], data.get(name, ""), False


def _computed_weights(model: onnx.ModelProto) -> list[str]:
    made = {name for node in model.graph.node for name in node.output}
    weights = (n.input[1] for n in model.graph.node if n.op_type in ("Conv", *DENSE))
    return [name for name in dict.fromkeys(weights) if name in made]
