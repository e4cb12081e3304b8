"""Small helpers to rewrite an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend.onnx_file import all_nodes, subgraphs

Array = NDArray[Any]

Attributes = dict[str, Any]
"""Attributes of a node by name: numbers, text, lists of them, tensors, graphs."""


def describe(node: onnx.NodeProto) -> str:
    """How messages name a node: operator, domain, and its name or first output."""
    name = node.name or (node.output[0] if node.output else "?")
    domain = f" (domain {node.domain!r})" if node.domain else ""
    return f"node {name!r}: operator {node.op_type}{domain}"


def constant_of(node: onnx.NodeProto) -> Array | None:
    """The value of a ``Constant`` node with a dense numeric tensor, else None."""
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    value: Any = helper.get_attribute_value(attribute)
    match attribute.name:
        case "value" if value.data_type != onnx.TensorProto.STRING:
            return np.asarray(numpy_helper.to_array(value))
        case "value_float" | "value_floats":
            return np.asarray(value, dtype=np.float32)
        case "value_int" | "value_ints":
            return np.asarray(value, dtype=np.int64)
    return None


def attributes(node: onnx.NodeProto) -> Attributes:
    """The attributes of ``node`` as Python values; strings are decoded."""
    out: Attributes = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        out[attribute.name] = value.decode("utf-8", "replace") if type(value) is bytes else value
    return out


def drop_unused_initializers(model: onnx.ModelProto) -> bool:
    """Remove the initializers that nothing reads; returns whether there were any."""
    graph = model.graph
    used = {name for node in all_nodes(graph) for name in node.input}
    used.update(value.name for value in graph.output)
    for node in graph.node:
        for subgraph in subgraphs(node):
            used.update(graph_outputs(subgraph))
    unused = [i for i, tensor in enumerate(graph.initializer) if tensor.name not in used]
    for index in reversed(unused):
        del graph.initializer[index]
    return bool(unused)


def graph_outputs(graph: onnx.GraphProto) -> set[str]:
    """Names of the outputs of ``graph`` and of all its subgraphs."""
    names = {value.name for value in graph.output}
    for node in graph.node:
        for subgraph in subgraphs(node):
            names |= graph_outputs(subgraph)
    return names


class GraphEditor:
    """Collects the nodes that replace the ones of a graph, and the constants they need.

    Attributes:
        nodes: The new node list, in topological order.
        ranks: Number of dimensions per tensor name, where known.
        label: What messages call the model.
        graph: What is edited; its nodes stay until the caller replaces them.
    """

    def __init__(
        self, model: onnx.ModelProto, label: str, ranks: dict[str, int] | None = None
    ) -> None:
        graph = model.graph
        self.nodes: list[onnx.NodeProto] = []
        self.ranks = ranks or {}
        self.label = label
        self.graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._constants: dict[str, Array] = {}
        self._taken = {value.name for value in (*graph.input, *graph.output)}
        self._taken.update(self._tensors)
        for node in all_nodes(graph):
            self._taken.update((*node.input, *node.output))
            if node.op_type == "Constant":
                value = constant_of(node)
                if value is not None:
                    self._constants[node.output[0]] = value

    def fresh(self, hint: str) -> str:
        """A tensor name that the graph does not use, made from ``hint``."""
        name, count = hint, 1
        while name in self._taken:
            name, count = f"{hint}_{count}", count + 1
        self._taken.add(name)
        return name

    def value(self, name: str) -> Array | None:
        """The constant called ``name``, or None if it is computed at run time."""
        if name not in self._constants:
            if name not in self._tensors:
                return None
            self._constants[name] = np.asarray(numpy_helper.to_array(self._tensors[name]))
        return self._constants[name]

    def constant(self, value: Array | float, hint: str) -> str:
        """Add an initializer (float32 unless ``value`` is an array) and return its name."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value, np.float32)
        name = self.fresh(hint)
        tensor = numpy_helper.from_array(array, name)
        self.graph.initializer.append(tensor)
        self._constants[name] = array
        return name

    def op(
        self, source: onnx.NodeProto, op_type: str, *inputs: str, out: str = "", **attrs: Any
    ) -> str:
        """Append a standard operator that stems from ``source``; returns its output's name."""
        base = source.name or source.output[0]
        out = out or self.fresh(f"{source.output[0]}/{op_type}")
        name = f"{base}/{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [out], name=name, **attrs))
        return out

    # Errors that name the file and the node.

    def refuse(self, node: onnx.NodeProto, why: str) -> UnsupportedError:
        """An error for a valid node that is outside what the compiler takes."""
        return UnsupportedError(f"{self.label}: {describe(node)} {why}")

    def invalid(self, node: onnx.NodeProto, why: str) -> ModelError:
        """An error for a node that breaks its operator's rules."""
        return ModelError(f"{self.label}: {describe(node)} {why}")

    def inputs(self, node: onnx.NodeProto, names: Sequence[str]) -> list[str]:
        """The inputs of ``node``, which must be present, one for each of ``names``."""
        if len(node.input) != len(names) or "" in node.input or len(node.output) != 1:
            raise self.invalid(
                node, f"needs the inputs {', '.join(names)} and one output; export it again"
            )
        return list(node.input)
