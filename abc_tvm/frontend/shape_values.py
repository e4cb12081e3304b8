"""Follow shape arithmetic through a graph, with some of the numbers unknown.

Exporters write ``x.view(x.shape[0], -1)`` as Shape, Gather, Unsqueeze, Concat, Reshape. With a
symbolic batch that chain is no constant, yet the Reshape it feeds is: ``[0, -1]``. Each small
integer tensor is tracked as a tuple of entries that are numbers, dimension names, or None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, shape_inference

from abc_tvm.frontend.graph_edit import GraphEditor, attributes
from abc_tvm.frontend.light import light

Entry = int | str | None
_MAX_ENTRIES = 64
_ALWAYS_INT64 = ("Cast", "Shape", "Size")
"""Operators whose result does not take the type of their first input."""

_INTEGER = (TensorProto.INT64, TensorProto.INT32)


@dataclass(frozen=True)
class ShapeValue:
    """An integer tensor of rank 0 or 1 whose entries may be names of dimensions or unknown."""

    entries: tuple[Entry, ...]
    scalar: bool = False

    def numbers(self) -> list[int] | None:
        """The entries if all are numbers."""
        known = [entry for entry in self.entries if isinstance(entry, int)]
        return known if len(known) == len(self.entries) else None


def resolve_shapes(model: onnx.ModelProto) -> bool:
    """Make computed shapes constant, in place, where the graph determines them.

    Values that come out as plain numbers become initializers. A Reshape whose target has dimension
    names gets a constant target with 0 (copy this dimension) and -1 (what remains). Returns
    whether anything changed.
    """
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return False
    try:
        inferred = shape_inference.infer_shapes(light(model), data_prop=True).graph
    except shape_inference.InferenceError:
        return False
    dims = {
        value.name: tuple(_dimension(d) for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    dims.update((tensor.name, tuple(tensor.dims)) for tensor in model.graph.initializer)
    edit = GraphEditor(model, "model")
    tracker = _Tracker(edit, dims)
    graph_outputs = {value.name for value in model.graph.output}
    stored = {t.name for t in model.graph.initializer}
    kept: list[onnx.NodeProto] = []
    changed = False
    for node in model.graph.node:
        if node.op_type == "Reshape" and len(node.input) == 2 and node.input[1] not in stored:
            target = tracker.reshape_target(node)
            if target is not None:
                array = np.asarray(target, np.int64)
                node.input[1] = edit.constant(array, f"{node.output[0]}/shape")
                changed = True
        value = tracker.follow(node)
        numbers = value.numbers() if value is not None else None
        if value is None or numbers is None or node.output[0] in graph_outputs:
            kept.append(node)
            continue
        dtype = np.int32 if tracker.int32(node) else np.int64
        array = np.asarray(numbers[0] if value.scalar else numbers, dtype)
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
        changed = True
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return changed


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> Entry:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None


class _Tracker:
    def __init__(self, edit: GraphEditor, dims: dict[str, tuple[Entry, ...]]) -> None:
        self._edit = edit
        self._dims = dims
        self._values: dict[str, ShapeValue] = {}
        self._int32: set[str] = set()

    def value(self, name: str) -> ShapeValue | None:
        """What is known of the tensor ``name``; None if it is no small integer tensor."""
        if name in self._values:
            return self._values[name]
        if (
            len(self._dims.get(name, (0, 0))) > 1
            or math.prod(d if isinstance(d, int) else 1 for d in self._dims[name]) > _MAX_ENTRIES
        ):
            return None
        array = self._edit.value(name)
        if array is None or array.ndim > 1 or array.dtype not in (np.int64, np.int32):
            return None
        return ShapeValue(tuple(int(n) for n in array.reshape(-1)), array.ndim == 0)

    def int32(self, node: onnx.NodeProto) -> bool:
        return node.output[0] in self._int32

    def follow(self, node: onnx.NodeProto) -> ShapeValue | None:
        """The value of ``node``'s only output, if it is shape arithmetic."""
        rule = _RULES.get(node.op_type)
        if rule is None or node.domain or len(node.output) != 1:
            return None
        if node.op_type == "Shape":
            shape = self._shape(node)
        elif node.op_type == "Size":
            shape = self._size(node)
        else:
            inputs = [self.value(name) for name in node.input]
            known = [value for value in inputs if value is not None]
            shape = rule(node, known) if known and len(known) == len(inputs) else None
        if shape is None or len(shape.entries) > _MAX_ENTRIES:
            return None
        self._values[node.output[0]] = shape
        cast = node.op_type == "Cast" and attributes(node)["to"] == TensorProto.INT32
        inherits = node.op_type not in _ALWAYS_INT64 and node.input[0] in self._int32
        array = self._edit.value(node.input[0]) if node.op_type not in _ALWAYS_INT64 else None
        if cast or inherits or (array is not None and array.dtype == np.int32):
            self._int32.add(node.output[0])
        return shape

    def _shape(self, node: onnx.NodeProto) -> ShapeValue | None:
        dims = self._dims.get(node.input[0])
        if dims is None:
            return None
        attrs = attributes(node)
        return ShapeValue(dims[attrs.get("start", 0) : attrs.get("end", len(dims))])

    def _size(self, node: onnx.NodeProto) -> ShapeValue | None:
        dims = self._dims.get(node.input[0])
        if dims is None or not all(isinstance(d, int) for d in dims):
            return None
        return ShapeValue((math.prod(d for d in dims if isinstance(d, int)),), scalar=True)

    def reshape_target(self, node: onnx.NodeProto) -> list[int] | None:
        """A constant target for ``node``, or None if several dimensions stay unknown."""
        wanted = self.value(node.input[1])
        if wanted is None:
            return None
        source = self._dims.get(node.input[0], ())
        keeps_zero = bool(attributes(node).get("allowzero", 0))
        target = []
        for axis, entry in enumerate(wanted.entries):
            if isinstance(entry, int):
                if keeps_zero and entry == 0:
                    return None
                target.append(entry)
            elif entry is not None and axis < len(source) and source[axis] == entry:
                target.append(0)
            else:
                target.append(-1)
        if target.count(-1) > 1:
            return None
        for index in reversed(range(len(node.attribute))):
            if node.attribute[index].name == "allowzero":
                del node.attribute[index]
        return target


Rule = Callable[[onnx.NodeProto, list[ShapeValue]], ShapeValue | None]


def _same(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    if node.op_type == "Cast" and attributes(node)["to"] not in _INTEGER:
        return None
    return inputs[0]


def _gather(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    data, index = inputs
    where = index.numbers()
    size = len(data.entries)
    if data.scalar or where is None or any(not -size <= i < size for i in where):
        return None
    return ShapeValue(tuple(data.entries[i] for i in where), index.scalar)


def _axes(node: onnx.NodeProto, inputs: list[ShapeValue]) -> list[int] | None:
    if len(inputs) > 1:
        return inputs[1].numbers()
    axes: list[int] | None = attributes(node).get("axes")
    return list(axes) if axes is not None else None


def _unsqueeze(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    if not inputs[0].scalar or _axes(node, inputs) not in ([0], [-1]):
        return None
    return ShapeValue(inputs[0].entries)


def _squeeze(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    if inputs[0].scalar or len(inputs[0].entries) != 1:
        return None
    if _axes(node, inputs) not in (None, [0], [-1]):
        return None
    return ShapeValue(inputs[0].entries, scalar=True)


def _concat(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    if any(value.scalar for value in inputs):
        return None
    return ShapeValue(tuple(entry for value in inputs for entry in value.entries))


def _slice(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    attrs = attributes(node)
    if len(inputs) == 1:
        parts = [list(attrs["starts"]), list(attrs["ends"]), list(attrs.get("axes", [0])), [1]]
    else:
        given = [value.numbers() for value in inputs[1:]]
        parts = [*(g or [] for g in given), [0], [1]][: max(len(given), 2)]
        parts += [[0], [1]][len(parts) - 2 :]
    if inputs[0].scalar or any(len(part) != 1 for part in parts) or parts[2][0] not in (0, -1):
        return None
    start, end, _, step = (part[0] for part in parts)
    if step <= 0:
        return None
    return ShapeValue(inputs[0].entries[start:end:step])


def _arithmetic(node: onnx.NodeProto, inputs: list[ShapeValue]) -> ShapeValue | None:
    a, b = inputs
    size = max(len(a.entries), len(b.entries))
    if {len(a.entries), len(b.entries)} - {1, size}:
        return None
    pairs = zip(_stretch(a, size), _stretch(b, size), strict=True)
    return ShapeValue(tuple(_apply(node.op_type, *pair) for pair in pairs), a.scalar and b.scalar)


def _stretch(value: ShapeValue, size: int) -> tuple[Entry, ...]:
    return value.entries * size if len(value.entries) == 1 else value.entries


def _apply(op_type: str, a: Entry, b: Entry) -> Entry:
    if op_type == "Mul" and 1 in (a, b):
        return b if a == 1 else a
    if not (isinstance(a, int) and isinstance(b, int)):
        return None
    match op_type:
        case "Add":
            return a + b
        case "Sub":
            return a - b
        case "Mul":
            return a * b
    return a // b if a >= 0 and b > 0 else None


_RULES: dict[str, Rule] = {
    "Shape": lambda node, inputs: None,
    "Size": lambda node, inputs: None,
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": _concat,
    "Slice": _slice,
    "Cast": _same,
    "Identity": _same,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
}
