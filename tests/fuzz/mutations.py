"""Damage to a model: to its bytes, and to its protobuf fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

T = TypeVar("T")
Rng = np.random.Generator

HOSTILE_NAMES = ("", "\n", "a\x1b[31mb", "../x", "main", "x" * 5000, "ü", "a b", "%s", "{0}")
NUMBERS = (0, -1, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, -(2**63), 2**63 - 1)
_OPERATORS = (
    "Add", "Conv", "Relu", "MatMul", "Reshape", "Concat", "Gather", "Slice", "Sign", "MaxPool",
    "Gemm", "Pad", "Resize", "If", "Loop", "Scan", "Softmax", "Where", "Cast", "Nonsense", "",
)  # fmt: skip


def choose(rng: Rng, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def damage_bytes(rng: Rng, data: bytes) -> bytes:
    """Flipped bits, overwritten, removed, repeated, inserted and swapped parts; a cut end."""
    out = bytearray(data)
    for _ in range(choose(rng, (1, 1, 1, 2, 4, 16))):
        size = max(len(out), 1)
        at = int(rng.integers(size))
        length = int(rng.integers(1, choose(rng, (2, 8, 64, 512)) + 1))
        match int(rng.integers(8)):
            case 0 | 1 if out:
                out[at] ^= 1 << int(rng.integers(8))
            case 2 if out:
                out[at] = int(rng.integers(256))
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[at : at + length]
            case 5:
                out[at:at] = rng.bytes(length)
            case 6:
                del out[at:]
            case _:
                out[at : at + length] = bytes([choose(rng, (0, 255, 0x7F, 0x80))]) * length
    return bytes(out)


def damage_model(rng: Rng, model: onnx.ModelProto) -> bytes:
    """One to three fields changed; the file."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(choose(rng, (1, 1, 1, 2, 3))):
        choose(rng, _DAMAGES)(rng, copy)
    return copy.SerializeToString()


def _node(rng: Rng, model: onnx.ModelProto) -> onnx.NodeProto:
    return choose(rng, model.graph.node) if model.graph.node else model.graph.node.add()


def _tensor(rng: Rng, model: onnx.ModelProto) -> TensorProto:
    stored = model.graph.initializer
    return choose(rng, stored) if stored else stored.add()


def _names(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    return [*names, *(v.name for v in graph.input), *(t.name for t in graph.initializer), "nobody"]


def _value(rng: Rng, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    return choose(rng, [*model.graph.input, *model.graph.output] or [model.graph.input.add()])


def operator(rng: Rng, model: onnx.ModelProto) -> None:
    _node(rng, model).op_type = choose(rng, _OPERATORS)


def domain(rng: Rng, model: onnx.ModelProto) -> None:
    domains = ("ai.onnx", "com.microsoft", "qonnx.custom_op.general", "ai.onnx.ml", "\x00")
    _node(rng, model).domain = choose(rng, domains)


def operand(rng: Rng, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if node.input and rng.random() < 0.7:
        node.input[int(rng.integers(len(node.input)))] = choose(rng, [*_names(model), ""])
    elif rng.random() < 0.5 and node.input:
        del node.input[-1]
    else:
        node.input.append(choose(rng, _names(model)))


def result(rng: Rng, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if node.output and rng.random() < 0.6:
        node.output[0] = choose(rng, [*_names(model), *HOSTILE_NAMES])
    elif node.output and rng.random() < 0.3:
        del node.output[:]
    else:
        node.output.append(choose(rng, [*_names(model), "more"]))


def name(rng: Rng, model: onnx.ModelProto) -> None:
    """Another name for a tensor, everywhere or at one place."""
    old, new = choose(rng, _names(model)), choose(rng, HOSTILE_NAMES)
    graph = model.graph
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [new if n == old else n for n in field]
    if rng.random() < 0.8:
        for item in (*graph.input, *graph.output, *graph.initializer):
            item.name = new if item.name == old else item.name
    if rng.random() < 0.3:
        _node(rng, model).name = new


def attribute(rng: Rng, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    if not node.attribute:
        names = ("axis", "pads", "strides", "group", "kernel_shape", "to", "perm", "alpha", "mode")
        node.attribute.append(helper.make_attribute(choose(rng, names), choose(rng, NUMBERS)))
        return
    changed = choose(rng, node.attribute)
    match int(rng.integers(6)):
        case 0:
            node.attribute.remove(changed)
        case 1:
            node.attribute.append(changed)
        case 2 if changed.ints:
            changed.ints[int(rng.integers(len(changed.ints)))] = choose(rng, NUMBERS)
        case 3 if changed.ints:
            if rng.random() < 0.5:
                del changed.ints[-1]
            else:
                changed.ints.append(choose(rng, NUMBERS))
        case 4:
            value: Any = choose(rng, (1.5, "text", [1, 2], -3, float("nan"), [1.5], ""))
            changed.CopyFrom(helper.make_attribute(changed.name, value))
        case _:
            changed.i = choose(rng, NUMBERS)
            changed.f = choose(rng, (0.0, -1.0, float("nan"), float("inf"), 1e38))


def tensor_shape(rng: Rng, model: onnx.ModelProto) -> None:
    tensor = _tensor(rng, model)
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = choose(rng, NUMBERS)
    elif tensor.dims and rng.random() < 0.5:
        del tensor.dims[-1]
    else:
        tensor.dims.append(choose(rng, NUMBERS))


def reshaped(rng: Rng, model: onnx.ModelProto) -> None:
    """Other extents with as many elements: valid by itself."""
    tensor = _tensor(rng, model)
    dims = list(tensor.dims)
    rng.shuffle(dims)
    tensor.dims[:] = choose(rng, (dims, [int(np.prod(dims, dtype=np.int64))], [1, *dims]))


def tensor_type(rng: Rng, model: onnx.ModelProto) -> None:
    _tensor(rng, model).data_type = int(choose(rng, (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 16, 23, 99)))


def tensor_data(rng: Rng, model: onnx.ModelProto) -> None:
    tensor = _tensor(rng, model)
    raw = tensor.raw_data
    if rng.random() < 0.4:
        tensor.raw_data = raw[: int(rng.integers(len(raw) + 1))]
    elif rng.random() < 0.5:
        tensor.float_data.extend([1.0] * choose(rng, (1, 7)))
    else:
        tensor.raw_data = raw + bytes(4)


def tensor_values(rng: Rng, model: onnx.ModelProto) -> None:
    """NaN, infinity, huge and odd numbers among the values."""
    tensor = _tensor(rng, model)
    if tensor.data_location == TensorProto.EXTERNAL:
        return  # damaged already
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (TypeError, ValueError, KeyError):
        return
    if not array.size:
        return
    flat = array.reshape(-1)
    at = int(rng.integers(flat.size))
    if array.dtype.kind == "f":
        flat[at] = choose(rng, (np.nan, np.inf, -np.inf, 1e38, 1e-40, -0.0, 1e8))
    elif array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        wild = [n for n in NUMBERS if info.min <= n <= info.max]
        flat[at] = choose(rng, [*wild, info.min, info.max])
    tensor.CopyFrom(numpy_helper.from_array(flat.reshape(array.shape), tensor.name))


def external(rng: Rng, model: onnx.ModelProto) -> None:
    tensor = _tensor(rng, model)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    places = ("/etc/passwd", "../../etc/passwd", "missing.bin", "model.onnx", "", ".", "/dev/zero")
    for key, value in (
        ("location", choose(rng, places)),
        ("offset", str(choose(rng, NUMBERS))),
        ("length", choose(rng, ("x", *map(str, NUMBERS)))),
    ):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def value_shape(rng: Rng, model: onnx.ModelProto) -> None:
    value = _value(rng, model)
    dims = value.type.tensor_type.shape.dim
    if dims and rng.random() < 0.7:
        dim = choose(rng, dims)
        if rng.random() < 0.6:
            dim.dim_value = choose(rng, NUMBERS)
        else:
            dim.dim_param = choose(rng, ("N", "", "batch", "\n", "N*2"))
    elif rng.random() < 0.5:
        dims.add().dim_value = choose(rng, NUMBERS)
    else:
        value.type.tensor_type.ClearField("shape")


def value_type(rng: Rng, model: onnx.ModelProto) -> None:
    value = _value(rng, model)
    if rng.random() < 0.8:
        value.type.tensor_type.elem_type = int(choose(rng, (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 99)))
    else:
        value.type.Clear()


def versions(rng: Rng, model: onnx.ModelProto) -> None:
    match int(rng.integers(4)):
        case 0:
            model.ir_version = choose(rng, NUMBERS)
        case 1:
            model.opset_import.add().version = 13
        case 2 if model.opset_import:
            del model.opset_import[:]
        case _:
            for opset in model.opset_import:
                opset.version = int(choose(rng, (0, 1, 5, 8, 9, 11, 12, 99, 2**40)))


def nodes(rng: Rng, model: onnx.ModelProto) -> None:
    """A node removed, doubled, moved; a cycle."""
    node = _node(rng, model)
    match int(rng.integers(4)):
        case 0:
            model.graph.node.remove(node)
        case 1:
            model.graph.node.append(node)
        case 2:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            model.graph.node.remove(node)
            model.graph.node.insert(0, copy)
        case _ if node.input and node.output:
            node.input[0] = node.output[0]


def ports(rng: Rng, model: onnx.ModelProto) -> None:
    graph = model.graph
    match int(rng.integers(5)):
        case 0:
            del graph.input[:]
        case 1:
            del graph.output[:]
        case 2 if graph.output:
            graph.output.append(graph.output[0])
        case 3 if graph.input:
            graph.output.append(graph.input[0])
        case _ if graph.input:
            graph.input.append(graph.input[0])


def initializers(rng: Rng, model: onnx.ModelProto) -> None:
    graph = model.graph
    tensor = _tensor(rng, model)
    match int(rng.integers(3)):
        case 0:
            graph.initializer.remove(tensor)
        case 1:
            graph.initializer.append(tensor)
        case _:
            graph.sparse_initializer.add().values.CopyFrom(tensor)


def subgraph(rng: Rng, model: onnx.ModelProto) -> None:
    """The graph in an attribute of one of its own nodes."""
    copy = onnx.GraphProto()
    copy.CopyFrom(model.graph)
    _node(rng, model).attribute.append(helper.make_attribute("body", copy))


_DAMAGES: tuple[Callable[[Rng, onnx.ModelProto], None], ...] = (
    operator, domain, operand, operand, result, name, attribute, attribute, attribute, tensor_shape,
    reshaped, tensor_type, tensor_data, tensor_values, tensor_values, external, value_shape,
    value_shape, value_type, versions, nodes, ports, initializers, subgraph,
)  # fmt: skip
