"""The user's own layer names, for the tables: ONNX node names of convolutions and dense layers.

TVM's importer puts a layer into the graph when its result is first read, not where its node
stands, so that order alone does not tell which is which: weights do, and order between layers of
equal weights.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

DENSE = ("Gemm", "MatMul")
SAMPLES = 64
"""Elements that tell weights apart."""

Key = tuple[tuple[int, ...], bytes]
_PRODUCT: Key = ((), b"product")
"""The key of products of two computed tensors."""


def layer_nodes(simple: onnx.ModelProto) -> list[tuple[str, onnx.NodeProto]]:
    """The convolutions and dense layers of a simplified model, with the names that they go by.

    A node without a name goes by its output's; equal names get ``#2``, ``#3`` …. Dots are
    underscores, as in all names of TVM's variables.
    """
    nodes = [n for n in simple.graph.node if n.op_type in ("Conv", *DENSE) and len(n.input) > 1]
    names = [(n.name or n.output[0]).replace(".", "_") for n in nodes]
    return list(zip(_unique(names), nodes, strict=True))


KINDS = ("ConvInteger", "ConvTranspose", "MatMulInteger", "QLinearConv", "QLinearMatMul")
"""Operators that are written out with a convolution or a product of matrices."""


DYNAMIC = ", quantized at run time"
"""Behind the kind of a layer that reads the result of a DynamicQuantizeLinear."""


def kind_of(node: onnx.NodeProto) -> str | None:
    """The user's own kind of a layer that the frontend wrote out; ``None`` for any other."""
    kind = node.doc_string.removesuffix(DYNAMIC)
    return kind if node.op_type in ("Conv", "MatMul") and kind in KINDS else None


def layer_names(simple: onnx.ModelProto, module: Any) -> tuple[list[str], list[str]]:
    """Names for the convolutions and for the dense layers of an imported module, in its order.

    As :func:`layer_nodes` gives them; ``conv_0``, ``dense_1`` … where a layer is no node's.

    Args:
        simple: The simplified model that was imported.
        module: What the importer made of it.
    """
    stored = {tensor.name: tensor for tensor in simple.graph.initializer}
    names: dict[Key, deque[str]] = defaultdict(deque)
    fixed = _fixed(simple, set(stored))
    for name, node in _as_imported(simple):
        if node.input[1] in stored:
            names[_key(numpy_helper.to_array(stored[node.input[1]]))].append(name)
        elif node.op_type == "MatMul" and not fixed.intersection(node.input):
            names[_PRODUCT].append(name)
    taken = {name for name, _ in layer_nodes(simple)}
    both: tuple[list[str], list[str]] = ([], [])
    for position, key in _layers(module):
        fitting = names.get(key) if key is not None else None
        kind = "conv" if position == 0 else "dense"
        other = f"{kind}_{len(both[position])}"
        both[position].append(fitting.popleft() if fitting else other + "#" * (other in taken))
    return both


def _as_imported(simple: onnx.ModelProto) -> list[tuple[str, onnx.NodeProto]]:
    """Layers in the order in which the importer binds them: at once where a bias is added to
    them, else when their result is first read."""
    layers = {node.output[0]: (name, node) for name, node in layer_nodes(simple)}
    nodes: list[tuple[str, onnx.NodeProto]] = []
    for node in simple.graph.node:
        nodes += [layers.pop(name) for name in node.input if name in layers]
        if node.output[0] in layers and len(node.input) > 2 and node.input[2]:
            nodes.append(layers.pop(node.output[0]))
    return [*nodes, *layers.values()]


def _fixed(simple: onnx.ModelProto, stored: set[str]) -> set[str]:
    """Tensors that follow from stored ones alone."""
    fixed = set(stored)
    for node in simple.graph.node:
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    return fixed


def _layers(module: Any) -> list[tuple[int, Key | None]]:
    """``(0, key)`` of every convolution of ``main`` and ``(1, key)`` of every product.

    Keys are those of the weights, or :data:`_PRODUCT`; ``None`` where neither is known.
    """
    bindings = [
        (binding.var, binding.value)
        for block in module["main"].body.blocks
        for binding in block.bindings
        if hasattr(binding, "value")
    ]
    defined = dict(bindings)
    computed = set(module["main"].params)
    layers: list[tuple[int, Key | None]] = []
    for var, value in bindings:
        args = list(getattr(value, "args", None) or getattr(value, "fields", None) or [])
        if hasattr(value, "tuple_value"):
            args = [value.tuple_value]
        if value in computed or any(_reads(arg, computed) for arg in args):
            computed.add(var)
        name = str(getattr(getattr(value, "op", None), "name", ""))
        if name in ("relax.nn.conv2d", "relax.matmul"):
            product = name == "relax.matmul"
            weight = _array(value.args[1], defined)
            key = None if weight is None else _key(weight)
            if product and all(_reads(arg, computed) for arg in args):
                key = _PRODUCT
            layers.append((int(product), key))
    return layers


def _reads(value: Any, computed: set[Any]) -> bool:
    """Whether an argument is computed from the network's inputs."""
    return value in computed or any(
        _reads(f, computed) for f in getattr(value, "fields", None) or []
    )


def _array(weight: Any, defined: dict[Any, Any]) -> np.ndarray | None:
    """The stored tensor behind a weight, transposed or not."""
    source = defined.get(weight) if not hasattr(weight, "value") else weight
    if source is not None and not hasattr(source, "value"):
        source = next(iter(getattr(source, "args", [])), None)
    read = getattr(getattr(source, "value", None), "numpy", None)
    return None if read is None else np.asarray(read())


def _key(array: np.ndarray) -> Key:
    step = max(1, array.size // SAMPLES)
    return array.shape, np.ascontiguousarray(array).reshape(-1)[::step].tobytes()


def _unique(names: list[str]) -> list[str]:
    seen: set[str] = set()
    result = []
    for name in names:
        number, new = 1, name
        while new in seen:
            number += 1
            new = f"{name}#{number}"
        seen.add(new)
        result.append(new)
    return result
