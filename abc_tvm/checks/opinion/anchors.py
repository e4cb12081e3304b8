"""Tensors that both graphs have, and where the root of an activation lies in the ONNX graph.

Anchors are the inputs, the outputs of layers (by name), of sums of layers that became one, and of
operators that neither side computes (in order). From random values at all anchors both graphs are
computed once; a tensor of the ONNX graph with the values of a root is that root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import onnx

from abc_tvm.checks.graphs.integers import Sums
from abc_tvm.checks.graphs.layouts import Lying, lyings
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import Joined, OnnxLayer
from abc_tvm.checks.graphs.onnx_ops import run
from abc_tvm.checks.graphs.relax_graph import RelaxGraph, RelaxLayer, dimensions, operator
from abc_tvm.checks.opinion.steps import Atoms
from abc_tvm.checks.opinion.tensor_atoms import TensorAtoms

OPAQUE = {
    "CumSum": "cumsum",
    "Einsum": "einsum",
    "GatherElements": "gather_elements",
    "GatherND": "gather_nd",
    "GridSample": "image.grid_sample",
    "ScatterElements": "scatter_elements",
    "ScatterND": "scatter_nd",
    "Pad": "call_tir pad",
    "Resize": "image.resize2d",
    "Upsample": "image.resize2d",
    "ConvTranspose": "nn.conv2d_transpose",
    "Softmax": "nn.softmax",
    "LayerNormalization": "nn.layer_norm",
    "InstanceNormalization": "nn.instance_norm",
}

MOST_ELEMENTS = 2**25
"""Random values at all anchors together: more would take too much time and memory."""

MOST_ROOTS = 12
"""Tensors of equal values that are tried for a root."""


@dataclass(frozen=True)
class Anchor:
    """``tensor`` of the ONNX graph, as a function of variables of the compiled module."""

    variables: tuple[Any, ...]
    tensor: str
    convert: Callable[..., np.ndarray]


@dataclass
class Anchors:
    """See the module's text. ``sums`` holds the integer forms of layers' variables."""

    graph: OnnxGraph
    relax: RelaxGraph
    anchors: list[Anchor]
    sums: dict[Any, Sums] = field(default_factory=dict)
    batch: int = 1

    def __post_init__(self) -> None:
        self._onnx: dict[str, np.ndarray] | None = None
        self._shrunk = False
        self._relax: dict[Any, np.ndarray] = {}
        self._atoms: dict[str, Atoms] | None = None

    def direct(self, var: Any) -> Anchor | None:
        """The anchor that a variable alone makes."""
        return next((a for a in self.anchors if a.variables == (var,)), None)

    def compute(
        self, roots: list[Any], tensors: list[str], rng: np.random.Generator, whole: bool = False
    ) -> None:
        """Values of roots, and of the tensors behind ``tensors``, from random anchors.

        On smaller images, or, ``whole``, on those that the graph has.
        """
        shrink = 1 if whole else self._common_factor()
        self._shrunk = shrink > 1
        given: dict[Any, np.ndarray] = {}
        wanted = self._wanted(roots, tensors)
        variables = {v for anchor in wanted for v in anchor.variables}
        if sum(self._elements(v, shrink) for v in variables) > MOST_ELEMENTS:
            self._onnx, self._relax = {}, {}
            return
        for anchor in wanted:
            for var in anchor.variables:
                if var not in given:
                    given[var] = self._random(var, shrink, rng)
        known = {a.tensor: a.convert(*(given[v] for v in a.variables)) for a in wanted}
        self._relax = self.relax.evaluate(roots, given, lenient=True)
        values: dict[str, Any] = dict(known)
        for at in self.graph.needed(tensors, known):
            node = self.graph.nodes[at]
            args: list[Any] = [values[n] if n in values else self._stored(n) for n in node.input]
            if any(n and a is None for n, a in zip(node.input, args, strict=True)):
                continue
            try:
                outputs = run(node, args, self.graph.opset, 1)
            except NotChecked:
                continue
            for name, value in zip(node.output, outputs, strict=False):
                values.setdefault(name, value)
        self._onnx, self._atoms = values, None

    def _wanted(self, roots: list[Any], tensors: list[str]) -> list[Anchor]:
        """The anchors that something is computed from."""
        names = {a.tensor for a in self.anchors}
        variables = {v for a in self.anchors for v in a.variables}
        read = {n for at in self.graph.needed(tensors, names) for n in self.graph.reads[at]}
        order = self.relax.order
        used = {
            v for at in self.relax.needed(roots, variables) for v in self.relax.reads(order[at][1])
        }
        read.update(tensors)
        return [a for a in self.anchors if a.tensor in read or used.intersection(a.variables)]

    def _stored(self, name: str) -> np.ndarray | None:
        return self.graph.constant(name) if name else None

    def _image_axes(self, var: Any) -> tuple[int, ...]:
        """Where a tensor has its height and width."""
        if len(dimensions(var)) != 4:
            return ()
        if var in self.relax.params:
            order = self.relax.order
            turned = (v for _, v in order if operator(v) == "permute_dims")
            return (2, 3) if any(v.args[0].same_as(var) for v in turned) else (1, 2)
        value = self.relax.value[var]
        if operator(value) == "call_tir":
            return (2, 3)
        attrs = value.attrs
        layout = str(getattr(attrs, "data_layout", getattr(attrs, "layout", "NHWC")))
        return (2, 3) if layout == "NCHW" else (1, 2)

    def _common_factor(self) -> int:
        """Of heights and widths of all anchors: all may be smaller by as much."""
        sizes = [
            dimensions(var)[axis] or 0
            for anchor in self.anchors
            for var in anchor.variables
            for axis in self._image_axes(var)
        ]
        return int(np.gcd.reduce([s for s in sizes if s > 1] or [1]))

    def _shape(self, var: Any, shrink: int) -> tuple[int, ...]:
        extents = [self.batch if d is None else d for d in dimensions(var)]
        for axis in self._image_axes(var):
            extents[axis] = max(1, extents[axis] // shrink)
        return tuple(extents)

    def _elements(self, var: Any, shrink: int) -> int:
        return prod(self._shape(var, shrink))

    def _random(self, var: Any, shrink: int, rng: np.random.Generator) -> np.ndarray:
        shape = self._shape(var, shrink)
        dtype = np.dtype(str(var.ty.dtype).rsplit(".", 1)[-1])
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            low, high = max(-128, limits.min), min(255, limits.max)
            return rng.integers(low, high + 1, shape).astype(dtype)
        if dtype.kind == "b":
            return rng.random(shape) < 0.5
        if var in self.sums:
            form = self.sums[var]
            drawn = np.rint(rng.normal(0, 0.25, (int(np.prod(shape[:-1])), shape[-1])) * form.bound)
            whole = form.reachable(drawn.astype(np.int64))
            return form.value(whole).reshape(shape)
        return (rng.standard_normal(shape, np.float32) * np.float32(4)).astype(dtype)

    def find(self, root: Any, data: list[str]) -> list[tuple[str, Lying]]:
        """Tensors that ``root`` may be, on each of which alone the tensors ``data`` depend.

        One, as a rule; several where some have the same values (``Mish(x)`` of large ``x``).

        Raises:
            NotChecked: There is none.
        """
        if self._onnx is None or root not in self._relax:
            raise NotChecked("operators before its activation are not known to the checker")
        value = np.asarray(self._relax[root])
        known = {a.tensor for a in self.anchors}
        nodes = [self.graph.nodes[i] for i in self.graph.needed(data, known)]
        names = [n for node in nodes for n in (*node.input, *node.output)] + data
        found = []
        for name in dict.fromkeys(names):
            if name not in self._onnx:
                continue
            other = self._onnx[name]
            found += [
                (name, lying)
                for lying in lyings(other.shape, value.shape)
                if _alike(lying.from_onnx(other), value) and self._decides(name, data)
            ]
        if not found:
            raise NotChecked("the root of its activation is no tensor of the graph")
        if self._shrunk and len({name for name, _ in found}) > 1:
            # A pooling of one pixel, say, is none.
            raise NotChecked("the root of its activation may be one of several tensors")
        return found[:1] if self._shrunk else found[:MOST_ROOTS]

    def _decides(self, name: str, data: list[str]) -> bool:
        """Whether ``data`` depend on one tensor alone."""
        inputs = set(self.graph.inputs)
        for at in self.graph.needed(data, [name]):
            for read in self.graph.reads[at]:
                if read in inputs and read != name:
                    return False
        return name in data or all(d not in inputs for d in data)

    def atoms(self, tensor: str) -> Atoms:
        """What is known of the atoms of a tensor."""
        if self._atoms is None:
            known = TensorAtoms(self.graph, self.anchors, self.sums, self._onnx, frozenset(OPAQUE))
            self._atoms = known.all()
        found = self._atoms.get(tensor, Atoms())
        if found.everywhere or self._onnx is None or tensor not in self._onnx:
            return found
        values, count = np.unique(self._onnx[tensor], return_counts=True)
        if len(values) > 4096:
            values, count = values[count > 1], count[count > 1]
        repeated = frozenset(float(v) for v in values[count > 1][:4096])
        return replace(found, values=found.values | repeated)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for float32 rounding."""
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    first = np.abs(a[0, 0] - b[0, 0]).max(initial=0) if a.ndim > 2 else 0
    if first > 2.0**-8 * np.abs(a[0, 0]).max(initial=0):
        return False
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return False
    size = float(np.abs(np.where(finite, a, 0)).max(initial=0))
    return bool(np.all(np.abs(a - b)[finite] <= 2.0**-18 * size))


def make_anchors(
    graph: OnnxGraph,
    relax: RelaxGraph,
    layers: dict[str, OnnxLayer],
    sums: dict[str, Joined],
    batch: int,
) -> Anchors:
    """The anchors of two graphs."""
    found = [
        Anchor((param,), name, lambda x: x)
        for param, name in zip(relax.params, graph.inputs, strict=False)
    ]
    for layer in relax.layers:
        if layer.name in sums:
            whole = members(relax, layer.name, layers)
            convert = sums[layer.name].from_relax
            variables = tuple(m.var for m in whole)
            found.append(Anchor(variables, sums[layer.name].tensor, lambda *v, c=convert: c(v)))
        elif layer.name in layers and _plain(layer):
            one = layers[layer.name]
            found.append(Anchor((layer.var,), one.output, one.from_relax))
    for op_type, name in OPAQUE.items():
        theirs = [n for n in graph.nodes if n.op_type == op_type]
        ours = [var for var, value in relax.order if _kind(value) == name]
        if len(theirs) == len(ours):
            for node, var in zip(theirs, ours, strict=True):
                biased = _with_bias(graph, node)
                if biased is not None:
                    found.append(Anchor((var,), node.output[0], biased))
    return Anchors(graph, relax, found, {}, batch)


def _with_bias(graph: OnnxGraph, node: onnx.NodeProto) -> Callable[[np.ndarray], np.ndarray] | None:
    """What the node's output is of the compiled module's, to which no bias is added yet.

    ``None`` where its bias is no constant.
    """
    if node.op_type != "ConvTranspose" or len(node.input) < 3 or not node.input[2]:
        return lambda x: x
    bias = graph.constant(node.input[2])
    if bias is None:
        return None
    return lambda x: np.asarray(x + bias.reshape((-1,) + (1,) * (x.ndim - 2)))


def _kind(value: Any) -> str:
    """The operator; of a function of TVM's own with the beginning of its name."""
    name = operator(value)
    if name != "call_tir":
        return name
    return f"call_tir {str(value.args[0].name_hint).rstrip('0123456789')}"


def _plain(layer: RelaxLayer) -> bool:
    return layer.kind != "nn.conv2d" or str(layer.call.attrs.data_layout) == "NHWC"


def members(relax: RelaxGraph, name: str, layers: dict[str, OnnxLayer]) -> list[RelaxLayer]:
    """The layers of the compiled module that a sum of the graph's became."""
    found = []
    for layer in relax.layers:
        base, _, number = layer.name.rpartition("+")
        further = base == name and number.isdigit() and layer.name not in layers
        if layer.name == name or further:
            found.append(layer)
    return found
