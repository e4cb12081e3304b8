"""A tiny ONNX builder: append a node, get the name of its output back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

QONNX_DOMAIN = "qonnx.custom_op.general"
IR_VERSION = 8
OPSETS = tuple(range(13, 19))


class GraphBuilder:
    """Collects nodes and constants, in order, and makes a checked model of them.

    ``constant_nodes`` writes constants as Constant nodes instead of initializers: two spellings
    that every importer has to take.
    """

    def __init__(self, opset: int = 13, constant_nodes: bool = False) -> None:
        self.opset = opset
        self.constant_nodes = constant_nodes
        self.uses_qonnx = False
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """The name of a constant; equal constants share one."""
        array = np.ascontiguousarray(np.asarray(value, dtype=dtype)).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._fresh("const")
            tensor = numpy_helper.from_array(array, name)
            if self.constant_nodes:
                self._nodes.append(helper.make_node("Constant", [], [name], name, value=tensor))
            else:
                self._initializers.append(tensor)
            self._constants[key] = name
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """An int64 vector: axes, shapes, pads."""
        return self.constant(values, np.int64)

    def split(self, x: str, count: int, **attributes: Any) -> list[str]:
        """Add a Split into equal parts; returns its outputs."""
        first = self.op("Split", x, **attributes)
        parts = [first, *(f"{first}/{k}" for k in range(1, count))]
        self._nodes[-1].output.extend(parts[1:])
        return parts

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Append one node of a standard operator; its only output's name."""
        name = self._fresh(op_type.lower())
        self._nodes.append(helper.make_node(op_type, list(inputs), [name], name, **attributes))
        return name

    def qonnx(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Append one node of a QONNX operator; its only output's name."""
        self.uses_qonnx = True
        return self.op(op_type, *inputs, domain=QONNX_DOMAIN, **attributes)

    def finish(
        self,
        result: str,
        input_shape: tuple[int, ...],
        output_shape: tuple[int, ...],
        symbolic_batch: bool = False,
    ) -> onnx.ModelProto:
        """A model with one input "input" and one output "output", both float32.

        ``result`` becomes the output. Standard models pass the ONNX checker with full shape
        inference; QONNX models are left unchecked, as the checker does not know the domain.
        """
        self._nodes.append(helper.make_node("Identity", [result], ["output"], "output"))
        graph = helper.make_graph(
            self._nodes,
            "network",
            [_value("input", input_shape, symbolic_batch)],
            [_value("output", output_shape, symbolic_batch)],
            self._initializers,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if self.uses_qonnx:
            opsets.append(helper.make_opsetid(QONNX_DOMAIN, 1))
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="abc-tvm-tests"
        )
        if not self.uses_qonnx:
            onnx.checker.check_model(model, full_check=True)
        return model

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _value(name: str, shape: tuple[int, ...], symbolic_batch: bool) -> onnx.ValueInfoProto:
    dims: list[int | str] = list(shape)
    if symbolic_batch:
        dims[0] = "N"
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)


def is_qonnx(model: onnx.ModelProto) -> bool:
    """Whether the model uses QONNX operators, which onnxruntime does not know."""
    return any(node.domain == QONNX_DOMAIN for node in model.graph.node)
