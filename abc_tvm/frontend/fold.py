"""Evaluate the parts of a graph that depend on stored tensors only.

Operators whose float32 result is fixed by IEEE arithmetic, or that merely move data, have the same
value in every correct runtime, bit for bit. Sums over many elements and transcendental functions do
not: runtimes differ in the last place. They are folded too, because layers that binarize their
weights in the forward pass (mean, standard deviation, mean of |W|) leave them in the graph, and
without their value there are no planes. A constant that is off by one unit in the last place moves
a real weight scale by as much, which is what ``docs/contract.md`` allows.
"""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from abc_tvm.frontend.graph_edit import Array, attributes
from abc_tvm.frontend.onnx_file import opset_of

FEW_ELEMENTS = 1 << 22
"""What is computed may have so many elements, and four times as many as are stored."""

_ELEMENT_WISE = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "Cast",
        "Ceil",
        "Clip",
        "Div",
        "Equal",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Relu",
        "Round",
        "Sign",
        "Sqrt",
        "Sub",
        "Sum",
        "Where",
        "Xor",
    ]
)
_DATA_MOVEMENT = frozenset(
    [
        "Concat",
        "ConstantOfShape",
        "Expand",
        "DepthToSpace",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Range",
        "Reshape",
        "Shape",
        "ScatterElements",
        "ScatterND",
        "Size",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unsqueeze",
    ]
)
_ROUNDED = frozenset(
    [
        "ArgMax",
        "ArgMin",
        "CumSum",
        "Einsum",
        "Erf",
        "Exp",
        "Gemm",
        "HardSigmoid",
        "LayerNormalization",
        "Log",
        "MatMul",
        "Pow",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Tanh",
    ]
)
FOLDABLE = _ELEMENT_WISE | _DATA_MOVEMENT | _ROUNDED

# What the reference evaluator raises on operands that its operator does not take.
_EVALUATION_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def fold_constants(model: onnx.ModelProto) -> bool:
    """Replace, in place, nodes whose inputs are all stored tensors by their value.

    A node that cannot be evaluated, or whose value would be large beside what the model stores,
    stays. Returns whether any node was folded.
    """
    graph = model.graph
    opset = opset_of(model)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    values: dict[str, Array] = {}
    kept: list[onnx.NodeProto] = []
    outputs = {value.name for value in graph.output}
    folded: dict[str, Array] = {}
    most = FEW_ELEMENTS + 4 * sum(math.prod(tensor.dims) for tensor in graph.initializer)

    def value(name: str) -> Array:
        if name not in values:
            values[name] = np.asarray(numpy_helper.to_array(tensors[name]))
        return values[name]

    for node in graph.node:
        results: list[Array | None] = []
        known = all(name in tensors or name in folded for name in node.input if name)
        plain = node.op_type in FOLDABLE and not node.domain
        made = [name for name in node.output if name]
        if known and plain and not outputs.intersection(made):
            inputs = {name: value(name) for name in node.input if name}
            results = [evaluate(node, inputs, opset, most, name) for name in made]
        whole = [result for result in results if result is not None]
        if not whole or len(whole) < len(results):
            kept.append(node)
        else:
            for name, result in zip(made, whole, strict=True):
                folded[name] = values[name] = result
                most -= result.size
    if not folded:
        return False
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input} | outputs
    inner = any(a.HasField("g") or a.graphs for node in kept for a in node.attribute)
    for name, array in folded.items():
        if inner or name in read:
            graph.initializer.append(numpy_helper.from_array(array, name))
    return True


def evaluate(
    node: onnx.NodeProto,
    inputs: dict[str, Array],
    opset: int,
    most: int = 1 << 20,
    output: str = "",
) -> Array | None:
    """The value of a node's first output, or of another by name.

    ``None`` where it has none, or more than ``most`` elements.
    """
    if node.op_type == "Range":  # a list of one number passes for it in onnxruntime
        inputs = {name: a.reshape(()) if a.size == 1 else a for name, a in inputs.items()}
    operands = [inputs.get(name) for name in node.input]
    try:
        if _elements(node, operands) > most:
            return None
        graph = helper.make_graph(
            [node],
            "fold",
            [_value_info(name, array) for name, array in inputs.items()],
            [helper.make_empty_tensor_value_info(output or node.output[0])],
        )
        single = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            (result,) = ReferenceEvaluator(single).run(None, inputs)
            array = np.asarray(result)
            helper.np_dtype_to_tensor_dtype(array.dtype)
    except _EVALUATION_ERRORS:
        return None
    shape = _broadcast(node, operands)
    if shape is not None and array.shape != shape:
        return array.reshape(shape) if array.size == math.prod(shape) else None
    return array


def _value_info(name: str, array: Array) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, dtype, array.shape)


def _broadcast(node: onnx.NodeProto, operands: list[Array | None]) -> tuple[int, ...] | None:
    """The result's shape for element-wise operators (NumPy turns 0-d arrays into scalars)."""
    if node.op_type not in _ELEMENT_WISE:
        return None
    return np.broadcast_shapes(*(a.shape for a in operands if a is not None))


def _elements(node: onnx.NodeProto, operands: list[Array | None]) -> int:
    """An upper bound of the result's number of elements, found without computing it."""
    arrays: list[Array] = [np.asarray(a) for a in operands if a is not None]
    stored = sum(int(a.size) for a in arrays)
    match node.op_type:
        case "ConstantOfShape":
            return math.prod(int(n) for n in arrays[0])
        case "Expand":
            target = tuple(int(n) for n in arrays[1])
            return math.prod(np.broadcast_shapes(arrays[0].shape, target))
        case "Tile":
            return stored * math.prod(int(n) for n in arrays[1])
        case "Range":
            start, stop, step = (float(a) for a in arrays)
            return math.ceil(abs(stop - start) / abs(step))
        case "Gather" | "GatherND":
            return stored * int(arrays[1].size)
        case "Pad":
            pads = [int(n) for n in (arrays[1] if len(arrays) > 1 else attributes(node)["pads"])]
            if len(pads) != 2 * arrays[0].ndim:
                return sys.maxsize
            extents = zip(arrays[0].shape, pads, pads[arrays[0].ndim :], strict=False)
            return math.prod(n + abs(a) + abs(b) for n, a, b in extents)
        case "MatMul" | "Gemm" | "Einsum":
            return max(
                stored, math.prod(int(a.size) for a in arrays[:2]) // min(arrays[0].shape or (1,))
            )
    shape = _broadcast(node, operands)
    return stored if shape is None else math.prod(shape)
