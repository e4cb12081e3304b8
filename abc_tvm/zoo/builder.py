"""A small ONNX graph builder that computes every node, in NumPy, as it adds it.

A layer that needs statistics of its input, such as a batch normalization, reads them from the
sample value that its input tensor carries. Values live only as long as someone holds the tensor,
so a deep network keeps a few activations in memory, not all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.zoo.numpy_ops import MEANINGS, Array

OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph, and its value for the sample input."""

    name: str
    value: Array

    @property
    def channels(self) -> int:
        """Size of axis 1."""
        return int(self.value.shape[1])


class GraphBuilder:
    """Collects nodes and initializers of one graph; see ``model`` for the result.

    Attributes:
        rng: the only source of randomness of a network, so that a seed fixes all of it.
        grid: scales of ABC layers are multiples of a power of two, so that bytes hold them.
        input: float32 tensor "input"; its value is drawn from the standard normal distribution.
    """

    def __init__(self, sample_shape: Sequence[int], *, seed: int = 0, grid: bool = False) -> None:
        """Start a graph whose sample input has ``sample_shape``, [samples, C, H, W]."""
        self.grid = grid
        self.rng = np.random.default_rng(seed)
        self.input = Tensor("input", self.rng.standard_normal(sample_shape, dtype=np.float32))
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._scalars: dict[float, Tensor] = {}

    def constant(self, name: str, value: Array) -> Tensor:
        """Add an initializer, of ``value``'s shape and dtype."""
        self._initializers.append(numpy_helper.from_array(value, name))
        return Tensor(name, value)

    def scalar(self, value: float) -> Tensor:
        """Return the float32 scalar ``value``, one initializer for all of its uses."""
        if value not in self._scalars:
            self._scalars[value] = self.constant(f"scalar.{value}", np.array(value, np.float32))
        return self._scalars[value]

    def op(self, kind: str, inputs: Sequence[Tensor], name: str, **attributes: Any) -> Tensor:
        """Add one node, named as its output is, and compute it.

        Args:
            kind: ONNX operator, one of ``numpy_ops.MEANINGS``.
            inputs: the node's inputs in ONNX order.
            name: unique name of the node and of its output.
            attributes: ONNX attributes of the node.
        """
        names = [tensor.name for tensor in inputs]
        self._nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return Tensor(name, MEANINGS[kind]([tensor.value for tensor in inputs], attributes))

    def model(self, output: Tensor, *, name: str, batch: str | int = "N") -> onnx.ModelProto:
        """Return the graph as a model from "input" to ``output``, whose name must be "output".

        Args:
            output: result of the network; its sample value gives the shape.
            name: name of the graph.
            batch: size of axis 0 of input and output, or the name of a symbolic dimension.
        """
        ends = [
            helper.make_tensor_value_info(
                end.name, TensorProto.FLOAT, [batch, *end.value.shape[1:]]
            )
            for end in (self.input, output)
        ]
        graph = helper.make_graph(self._nodes, name, ends[:1], ends[1:], self._initializers)
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="abc-tvm zoo",
        )
