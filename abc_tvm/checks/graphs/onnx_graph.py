"""The ONNX graph as the frontend hands it to TVM's importer, read for the second opinion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from abc_tvm.checks.graphs.needed import needed
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_ops import ELEMENTWISE, run


class OnnxGraph:
    """Nodes, constants, and the values of tensors that are computed from given ones."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.inputs = [value.name for value in model.graph.input]
        self.types = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
        self.opset = max((o.version for o in model.opset_import if not o.domain), default=1)
        self.maker = {n: i for i, node in enumerate(self.nodes) for n in node.output if n}
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._arrays: dict[str, np.ndarray | None] = {}
        self.reads = [[n for n in node.input if n] for node in self.nodes]
        self._model = model
        self._shapes: dict[str, tuple[int, ...]] | None = None

    def stores(self, name: str) -> bool:
        """Whether a tensor is stored, and not computed."""
        return name in self._stored

    def constant(self, name: str) -> np.ndarray | None:
        """The array of a stored tensor, or of one that is computed from such alone."""
        if name in self._arrays:
            return self._arrays[name]
        if name in self._stored:
            self._arrays[name] = numpy_helper.to_array(self._stored[name])
        elif not self._is_constant(name):
            self._arrays[name] = None
        else:
            try:
                self._arrays[name] = self.evaluate([name], {})[name]
            except NotChecked:
                self._arrays[name] = None
        return self._arrays[name]

    def _is_constant(self, name: str) -> bool:
        seen, todo = set(), [name]
        while todo:
            one = todo.pop()
            if one in seen or one in self._stored:
                continue
            seen.add(one)
            # Constants behind long chains were folded by the frontend.
            if one not in self.maker or len(seen) > 16:
                return False
            todo.extend(self.reads[self.maker[one]])
        return True

    def needed(self, wanted: Iterable[str], stop: Iterable[str]) -> list[int]:
        """Positions of the nodes that compute ``wanted`` from ``stop``, in order."""
        return needed(wanted, stop, self.maker, self.reads.__getitem__)

    def evaluate(
        self, wanted: Iterable[str], given: Mapping[str, np.ndarray], images: int = 1
    ) -> dict[str, np.ndarray]:
        """Values of ``wanted``, and of everything on the way, from those ``given``.

        Raises:
            NotChecked: A tensor depends on something that is not given, or an operator is unknown.
        """
        values: dict[str, np.ndarray] = dict(given)
        wanted = list(wanted)
        for at in self.needed(wanted, given):
            node = self.nodes[at]
            args = [self._value(name, values) for name in node.input]
            outputs = run(node, args, self.opset, images)
            for name, value in zip(node.output, outputs, strict=False):
                values.setdefault(name, value)
        for name in wanted:
            asked = self._value(name, values)
            if asked is not None:
                values[name] = asked
        return values

    def narrow(self, nodes: Iterable[onnx.NodeProto]) -> dict[str, np.ndarray]:
        """Stored tensors that element-wise nodes read, without what is the same all along an axis.

        A bias that was written out for every pixel is one for each channel, so that smaller images
        tell the same.
        """
        found = {}
        for node in nodes:
            for name in node.input if node.op_type in ELEMENTWISE else ():
                array = self.constant(name) if name else None
                if array is None or array.ndim < 3 or array.size == 0:
                    continue
                short = array
                for axis in range(array.ndim):
                    first = short.take([0], axis)
                    if short.shape[axis] > 1 and np.all(first == short):
                        short = first
                if short.size < array.size:
                    found[name] = short
        return found

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Extents of a tensor as ONNX infers them, 0 where one is open; ``None``: not known."""
        if self._shapes is None:
            small = onnx.ModelProto()
            small.CopyFrom(self._model)
            for tensor in small.graph.initializer:
                if len(tensor.dims) > 1:  # only vectors may be shapes
                    tensor.ClearField("raw_data")
                    tensor.ClearField("float_data")
            try:
                values = onnx.shape_inference.infer_shapes(small).graph.value_info
            except onnx.shape_inference.InferenceError:
                values = []
            every = [*values, *self._model.graph.input, *self._model.graph.output]
            self._shapes = {
                v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in every
            }
        return self._shapes.get(name)

    def _value(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
        if not name:
            return None
        if name in values:
            return values[name]
        if name in self._stored:
            return self.constant(name)
        raise NotChecked(f"it depends on {name!r}, which is not known")
