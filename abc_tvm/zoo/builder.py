"""A small ONNX graph builder that computes every node, in NumPy, as it adds it.

A layer that needs statistics of its input, such as a batch normalization, reads them from the
sample value that its input tensor carries. Values live only as long as someone holds the tensor,
so a deep network keeps a few activations in memory, not all of them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.zoo.numpy_moves import Array
from abc_tvm.zoo.numpy_ops import MEANINGS

OPSET = 17
IR_VERSION = 8
OUTPUT = "output"
LOW = "binarized layers"
"""Key of a model's metadata: the names of ``GraphBuilder.low``, as JSON."""


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
        real: binarized layers are written as ordinary ones: Relu, and weights of full precision.
        input: float32 tensor "input"; its value is drawn from the standard normal distribution, or
            by ``draw``.
        low: names of the nodes that are layers of a step function and few-valued weights.
    """

    def __init__(
        self,
        sample_shape: Sequence[int],
        *,
        seed: int = 0,
        grid: bool = False,
        real: bool = False,
        opset: int = OPSET,
        suffix: str = "",
        draw: Callable[[np.random.Generator, Sequence[int]], Array] | None = None,
    ) -> None:
        """Start a graph whose sample input has ``sample_shape``, [samples, C, H, W].

        ``suffix`` is what an output's name has behind its node's: exporters differ in it.
        """
        self.grid, self.real, self.opset, self.suffix = grid, real, opset, suffix
        self.rng = np.random.default_rng(seed)
        if draw is None:
            value = self.rng.standard_normal(sample_shape, dtype=np.float32)
        else:
            value = draw(self.rng, sample_shape).astype(np.float32)
        self.input = Tensor("input", value)
        self.low: list[str] = []
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
        """Add one node, named as its output is but for the suffix, and compute it.

        Args:
            kind: ONNX operator, one of ``numpy_ops.MEANINGS``.
            inputs: the node's inputs in ONNX order.
            name: unique name of the node and of its output.
            attributes: ONNX attributes of the node.
        """
        names = [tensor.name for tensor in inputs]
        output = name + self.suffix
        self._nodes.append(helper.make_node(kind, names, [output], name=name, **attributes))
        return Tensor(output, MEANINGS[kind]([tensor.value for tensor in inputs], attributes))

    def split(self, x: Tensor, parts: int, axis: int, name: str) -> list[Tensor]:
        """Add a Split of x into ``parts`` equal tensors along ``axis``."""
        values = np.split(x.value, parts, axis)
        sizes = self.constant(f"{name}.sizes", np.array([v.shape[axis] for v in values], np.int64))
        outputs = [f"{name}{self.suffix[:-1] or '.'}{index}" for index in range(parts)]
        inputs = [x.name, sizes.name]
        self._nodes.append(helper.make_node("Split", inputs, outputs, name=name, axis=axis))
        return [Tensor(*pair) for pair in zip(outputs, values, strict=True)]

    def model(self, output: Tensor, *, name: str, batch: str | int = "N") -> onnx.ModelProto:
        """Return the graph as a model from "input" to ``output``, which is called "output" in it.

        Args:
            output: result of the network, of the last node; its sample value gives the shape.
            name: name of the graph.
            batch: size of axis 0 of input and output, or the name of a symbolic dimension.

        Raises:
            ValueError: ``output`` is not of the node that was added last.
        """
        *nodes, last = self._nodes
        if output.name not in last.output:
            raise ValueError(f"the output {output.name} is not the last node's")
        last = copy.deepcopy(last)
        last.output[list(last.output).index(output.name)] = OUTPUT
        ends = [
            helper.make_tensor_value_info(end, TensorProto.FLOAT, [batch, *value.shape[1:]])
            for end, value in ((self.input.name, self.input.value), (OUTPUT, output.value))
        ]
        graph = helper.make_graph([*nodes, last], name, ends[:1], ends[1:], self._initializers)
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", self.opset)],
            producer_name="abc-tvm zoo",
        )
        if self.low:
            helper.set_model_props(model, {LOW: json.dumps(self.low)})
        return model
