"""A graph editor that knows shapes, types and the opset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, shape_inference

from abc_tvm.frontend.graph_edit import GraphEditor
from abc_tvm.frontend.light import light
from abc_tvm.frontend.onnx_file import opset_of
from abc_tvm.frontend.refusals.sizes import SPARE
from abc_tvm.layer_names import DYNAMIC

Dim = int | str | None

MOST_TABLE = SPARE // 8
"""Elements of a stored tensor that is no part of the model, but of how an operator is spelled."""


class Rewriter(GraphEditor):
    """A :class:`GraphEditor` for the rewrites of operators.

    Attributes:
        opset: The version of the standard operators that the model imports.
        shapes: Per tensor name, where the rank is known: numbers, dimension names, or None.
        dtypes: Per tensor name, where known: ONNX's number of the element type.
        settled: Outputs of added nodes that need no other look (:meth:`last`).
        dynamic: Tensors whose scale and zero point the network computes.
        stale: Set by a rewrite whose result has another shape than ONNX infers: all that is known
            of what follows is wrong until shapes are inferred again.
    """

    def __init__(self, model: onnx.ModelProto, label: str) -> None:
        self.opset = opset_of(model)
        self.shapes: dict[str, tuple[Dim, ...]] = {}
        self.dtypes: dict[str, int] = {}
        self.settled: set[str] = set()
        self.dynamic: set[str] = set()
        self.stale = False
        graph = inferred(model).graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.tensor_type
            if kind.elem_type:
                self.dtypes[value.name] = kind.elem_type
            if kind.HasField("shape"):
                self.shapes[value.name] = tuple(_dimension(d) for d in kind.shape.dim)
        for tensor in model.graph.initializer:
            self.shapes[tensor.name] = tuple(tensor.dims)
            self.dtypes[tensor.name] = tensor.data_type
        ranks = {name: len(shape) for name, shape in self.shapes.items()}
        super().__init__(model, label, ranks)

    def static_shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of ``name`` if every dimension is a number."""
        shape = self.shapes.get(name)
        if shape is None or not all(isinstance(d, int) for d in shape):
            return None
        return tuple(d for d in shape if isinstance(d, int))

    def dtype(self, name: str) -> np.dtype[Any] | None:
        """The element type of ``name`` as NumPy's, if it is known and no string."""
        kind = self.dtypes.get(name)
        if kind is None or kind == onnx.TensorProto.STRING:
            return None
        return helper.tensor_dtype_to_np_dtype(kind)

    def refuse_table(self, node: onnx.NodeProto, elements: int) -> None:
        """Raises ``UnsupportedError`` where a rewrite would store more than a network may hold."""
        if elements > MOST_TABLE:
            raise self.refuse(
                node,
                f"needs a stored table of {elements:,} elements, more than the {MOST_TABLE:,} that "
                "an operator may have; make it smaller",
            )

    def integers(self, values: Sequence[int], hint: str) -> str:
        """A stored one-dimensional int64 tensor, as axes, shapes and pads are."""
        return self.constant(np.asarray(values, np.int64), hint)

    def last(
        self, source: onnx.NodeProto, op_type: str, *inputs: str, out: str = "", **attrs: Any
    ) -> str:
        """As :meth:`op`, for a node of a kind that has a rewrite, in a form that needs none."""
        name = self.op(source, op_type, *inputs, out=out, **attrs)
        self.settled.add(name)
        return name

    def is_layer(self, source: onnx.NodeProto, number: int = 0) -> None:
        """The node that was added last is the layer that ``source`` is, or a part of it.

        It has its name, and its kind as its description (:func:`abc_tvm.layer_names.kind_of`),
        with :data:`abc_tvm.layer_names.DYNAMIC` where that is so.
        """
        name = source.name or source.output[0]
        self.nodes[-1].name = f"{name}/{number}" if number else name
        self.nodes[-1].doc_string = source.op_type
        if source.input[0] in self.dynamic:
            self.nodes[-1].doc_string += DYNAMIC

    def axes_op(
        self,
        source: onnx.NodeProto,
        op_type: str,
        x: str,
        axes: Sequence[int],
        out: str = "",
        **attrs: Any,
    ) -> str:
        """Squeeze, Unsqueeze or a reduction over ``axes``, as this opset spells it."""
        since = 13 if op_type in ("Squeeze", "Unsqueeze", "ReduceSum") else 18
        if self.opset < since:
            return self.op(source, op_type, x, out=out, axes=list(axes), **attrs)
        held = self.integers(axes, f"{source.output[0]}/axes")
        return self.op(source, op_type, x, held, out=out, **attrs)


Rewrite = Callable[[Rewriter, onnx.NodeProto], bool]
"""Looks at one node; whether nodes that it added take its place."""


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` without its large tensors, with shapes and types inferred."""
    small = light(model)
    try:
        return shape_inference.infer_shapes(small, data_prop=True)
    except shape_inference.InferenceError:
        return small


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None
