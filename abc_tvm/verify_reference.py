"""onnxruntime as the judge of one stretch of a network after another.

:func:`with_outputs` shows tensors inside a network. :func:`continued` cuts a network at tensors:
everything behind a cut reads what is given for it, and the tensor itself, as the network computes
it from the cuts before, is one more output. Engines that agree on each stretch compute the same
network, whatever an early difference does to everything behind it.

:class:`Rounding` says how far a value may be from the judge's. Two right engines add the same
float32 products in other orders; a value near a threshold then falls on either side. The judge is
run again, each rounding of its own moved at random within its bound (Monte Carlo arithmetic:
Parker, UCLA CSD-970002, 1997), and a value is explained where it lies between those that the judge
gives. The bounds, with u = 2^-24:

- a sum of n products: ``sqrt(n) * u * sum |w| * max |x|``, for each output channel (the
  probabilistic bound of Higham and Mary, SIAM J. Sci. Comput. 41, 2019, holds for any order);
- a mean: 32 u of its largest input; batch normalisation: 4 u of what it adds up;
- any other operator that rounds: 4 u of its result.

What does not round is not moved: sums of numbers on one grid of powers of two whose size stays
below 2^24 steps (binary and small integer sums, in any order), Sign, comparisons, pooling by
maximum, and what only moves data. A tie in an exact sum is never explained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.onnx_file import all_nodes, subgraphs
from abc_tvm.onnx_engine import OnnxEngine

PAIRS = 4
"""Times that roundings are moved, there and back."""

UNIT = 2.0**-24
STEPS = 4 * UNIT
MEANS = 32 * UNIT

GIVEN = "/given"
MOVED = "/moved"

Arrays = Mapping[str, np.ndarray]

_KEEPS = frozenset(
    ["Abs", "Cast", "CastLike", "Clip", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten",
     "Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "Max", "MaxPool", "Min",
     "Neg", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "SpaceToDepth", "Split",
     "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where"]
)  # fmt: skip
"""Operators whose results are among their inputs, or one of these with its sign turned."""

_WHOLE = frozenset(
    ["And", "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "IsInf",
     "IsNaN", "Less", "LessOrEqual", "NonZero", "Not", "OneHot", "Or", "Round", "Shape", "Sign",
     "Size", "Xor"]
)  # fmt: skip
"""Operators whose results are whole numbers."""

_SUMS = frozenset(["Conv", "Gemm", "MatMul"])
_AVERAGES = frozenset(["AveragePool", "GlobalAveragePool", "ReduceMean"])


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of ``model`` with tensors inside it as further outputs."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    present = {value.name for value in result.graph.output}
    new = (name for name in dict.fromkeys(names) if name not in present)
    result.graph.output.extend(onnx.ValueInfoProto(name=name) for name in new)
    return result


def continued(model: onnx.ModelProto, given: Arrays) -> onnx.ModelProto:
    """A copy of ``model`` that reads the tensors ``given`` from inputs ``<name>/given``.

    The tensors themselves are further outputs.
    """
    result = with_outputs(model, given)
    for node in all_nodes(result.graph):
        for place, name in enumerate(node.input):
            if name in given:
                node.input[place] = name + GIVEN
    for name, array in given.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        result.graph.input.append(helper.make_tensor_value_info(name + GIVEN, kind, None))
    return result


def inputs_of(arrays: Arrays, given: Arrays) -> dict[str, np.ndarray]:
    """What a network of :func:`continued` is run on."""
    return {**arrays, **{name + GIVEN: array for name, array in given.items()}}


class Rounding:
    """A network whose every rounding can be moved.

    Args:
        model: Of :func:`continued`.
        arrays: Its inputs, whose values tell which sums are exact.
        constants: Values of weights that it computes.
        seed: Of the moves.
    """

    def __init__(
        self, model: onnx.ModelProto, arrays: Arrays, constants: Arrays, seed: int = 0
    ) -> None:
        self._arrays, self._constants = dict(arrays), constants
        self._engine: OnnxEngine | None
        self._noise: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(seed)
        try:
            self._engine = OnnxEngine(self._moved(model), optimise=False)
        except UnsupportedError:  # operators before opset 7 do not broadcast: nothing is explained
            self._engine = None

    def runs(self) -> Iterable[dict[str, np.ndarray]]:
        """Outputs under moved roundings: ``PAIRS`` pairs of opposite moves."""
        if self._engine is None:
            return
        for _ in range(PAIRS):
            size = {
                name: bound * self._rng.choice([-1, 1], bound.shape)
                * self._rng.uniform(0.5, 1, bound.shape)
                for name, bound in self._noise.items()
            }  # fmt: skip
            for sign in (1, -1):
                noise = {name: np.asarray(sign * v, np.float32) for name, v in size.items()}
                yield self._engine.run({**self._arrays, **noise})

    def _moved(self, model: onnx.ModelProto) -> onnx.ModelProto:
        result = onnx.ModelProto()
        result.CopyFrom(model)
        graph = result.graph
        constants = {
            **self._constants,
            **{t.name: numpy_helper.to_array(t) for t in graph.initializer},
        }
        exact = Exact(self._arrays, constants, _kinds(model))
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            nodes.append(node)
            if node.domain or any(True for _ in subgraphs(node)):
                exact.unknown(node)
            elif exact.rounds(node):
                nodes.extend(self._steps(node, constants))
        del graph.node[:]
        graph.node.extend(nodes)
        for name, bound in self._noise.items():
            kind = onnx.TensorProto.FLOAT
            graph.input.append(helper.make_tensor_value_info(name, kind, list(bound.shape)))
        return result

    def _steps(self, node: onnx.NodeProto, constants: Arrays) -> list[onnx.NodeProto]:
        """What moves the first result of a node: a factor, and for sums a distance."""
        name = node.output[0]
        node.output[0] = name + MOVED
        made: list[onnx.NodeProto] = []

        def op(kind: str, *names: str, out: str = "") -> str:
            made.append(helper.make_node(kind, list(names), [out or f"{name}{MOVED}{len(made)}"]))
            return str(made[-1].output[0])

        def noise(bound: np.ndarray) -> str:
            key = f"{name}{MOVED}/noise{len(self._noise)}"
            self._noise[key] = bound
            return key

        share = op("Mul", node.output[0], noise(np.array(STEPS)))
        bound = _distance(node, constants)
        if bound is not None:
            distance = noise(bound)
            if node.op_type != "BatchNormalization":
                largest = f"{name}{MOVED}/largest"
                absolute = op("Abs", node.input[0])
                made.append(helper.make_node("ReduceMax", [absolute], [largest], keepdims=0))
                distance = op("Mul", distance, largest)
            share = op("Add", share, distance)
        op("Add", node.output[0], share, out=name)
        return made


def _distance(node: onnx.NodeProto, constants: Arrays) -> np.ndarray | None:
    """Bound of a sum's rounding relative to its largest input, to be added to the result."""
    if node.op_type in _AVERAGES:
        return np.array(MEANS)
    if node.op_type == "BatchNormalization":
        if not all(name in constants for name in node.input[1:5]):
            return None
        gamma, beta, mean, variance = (constants[name].astype(float) for name in node.input[1:5])
        epsilon = float(attributes(node).get("epsilon", 1e-5))
        size = np.abs(mean * gamma) / np.sqrt(np.abs(variance) + epsilon) + np.abs(beta)
        return np.asarray(STEPS * size.max(initial=0))  # fits any rank
    weight = constants.get(node.input[1]) if node.op_type in _SUMS else None
    if weight is None or weight.ndim < 2:
        return None
    if node.op_type == "Conv":
        rest, shape = tuple(range(1, weight.ndim)), (-1,) + (1,) * (weight.ndim - 2)
    elif node.op_type == "Gemm" and attributes(node).get("transB", 0):
        rest, shape = (1,), (-1,)
    else:
        rest, shape = tuple(range(weight.ndim - 1)), (-1,)
    count = prod(weight.shape[axis] for axis in rest)
    factor = abs(float(attributes(node).get("alpha", 1.0))) if node.op_type == "Gemm" else 1.0
    total = np.abs(weight).sum(rest, dtype=np.float64) * factor
    return (np.sqrt(count) * UNIT * total).reshape(shape)


class Exact:
    """Which tensors are sums that no order of addition rounds.

    A tensor on a grid is known by ``(k, size)``: all its values are multiples of ``2^-k`` and at
    most ``size``. Sums below ``2^24`` steps of the grid are exact in float32.
    """

    def __init__(self, arrays: Arrays, constants: Arrays, kinds: Mapping[str, int]) -> None:
        self._constants, self._kinds = constants, kinds
        self._grids = {name: grid(array) for name, array in arrays.items()}
        self._varies = set(arrays)

    def unknown(self, node: onnx.NodeProto) -> None:
        """Take note of an operator that nothing is known about."""
        self._varies.update(node.output)

    def rounds(self, node: onnx.NodeProto) -> bool:
        """Whether a node rounds what depends on the input; nodes come in their order."""
        if node.op_type in ("Shape", "Size") or not self._varies.intersection(node.input):
            return False
        self._varies.update(node.output)
        found = self._result(node)
        if found is not None and found[1] * 2.0 ** found[0] > 2**24:
            found = None
        self._grids.update(dict.fromkeys(node.output, found))
        quiet = node.op_type in _KEEPS or node.op_type in _WHOLE or found is not None
        return not quiet and self._kinds.get(node.output[0]) == onnx.TensorProto.FLOAT

    def _grid(self, name: str) -> tuple[int, float] | None:
        if name not in self._grids and name in self._constants:
            self._grids[name] = grid(self._constants[name])
        return self._grids.get(name)

    def _result(self, node: onnx.NodeProto) -> tuple[int, float] | None:
        kind = node.op_type
        if kind in _WHOLE:
            bound = self._grid(node.input[0]) if kind in ("Round", "Floor", "Ceil") else (0, 1.0)
            return None if bound is None else (0, bound[1] + 1)
        names = [n for n in node.input if n]
        if kind in ("Clip", "Max", "Min", "Where", "Pad", "Concat", "Add", "Sub", "Sum", "Mul"):
            names = names[1:] if kind == "Where" else names
        elif kind in _SUMS:
            return self._sum(node)
        elif kind in _KEEPS:
            names = names[:1]
        else:
            return None
        if kind == "Pad":
            names = [names[0], *names[2:3]]
        grids = [self._grid(n) for n in names]
        known = [g for g in grids if g is not None]
        if not known or len(known) < len(grids):
            return None
        powers, sizes = [k for k, _ in known], [size for _, size in known]
        if kind == "Mul":
            return sum(powers), prod(sizes)
        return max(powers), sum(sizes) if kind in ("Add", "Sub", "Sum") else max(sizes)

    def _sum(self, node: onnx.NodeProto) -> tuple[int, float] | None:
        weight = self._constants.get(node.input[1])
        grids = [self._grid(n) for n in node.input if n]
        known = [g for g in grids if g is not None]
        if weight is None or len(known) < len(grids) or weight.ndim < 2:
            return None
        if node.op_type == "Gemm" and {"alpha", "beta"} & set(attributes(node)):
            return None
        conv = node.op_type == "Conv"
        turned = node.op_type == "Gemm" and attributes(node).get("transB", 0)
        rest = tuple(range(1, weight.ndim)) if conv else (1 if turned else -2,)
        total = float(np.abs(weight).sum(rest, dtype=np.float64).max(initial=0))
        bias = known[2] if len(known) > 2 else (0, 0.0)
        power = max(known[0][0] + known[1][0], bias[0])
        return power, total * known[0][1] + bias[1]


def grid(array: np.ndarray) -> tuple[int, float] | None:
    """``(k, size)`` of an array whose values are multiples of ``2^-k``, with k up to 12."""
    if array.dtype.kind in "biu":
        return 0, float(np.abs(array.astype(np.float64)).max(initial=0))
    if array.dtype.kind != "f" or not np.all(np.isfinite(array)):
        return None
    sample = array.reshape(-1)[:1024].astype(np.float64)
    for power in range(13):
        if np.all(np.rint(sample * 2**power) == sample * 2**power):
            wide = array * np.asarray(2**power, array.dtype)
            if np.all(np.rint(wide) == wide):
                return power, float(np.abs(array).max(initial=0))
    return None


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Element types of tensors, where they can be told."""
    try:
        model = shape_inference.infer_shapes(model)
    except (shape_inference.InferenceError, ValueError):
        return {}
    graph = model.graph
    values = (*graph.value_info, *graph.output, *graph.input)
    return {v.name: v.type.tensor_type.elem_type for v in values if v.type.HasField("tensor_type")}
