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
- a mean: 32 u of its largest input; a sum of n values: ``sqrt(n) * n * u`` of the largest; batch
  normalisation: 4 u of what it adds up; other normalisations: 64 u of their largest result;
- a linear Resize: ``8 u * (1 + sum of extents)`` of the largest input about the place, four times
  as much a cubic one. A coordinate is a float32 number up to the extent, 4 u of it off after a few
  roundings, and where it is off by d, the value is by at most ``2 d max |x|``;
- any other operator that rounds: 4 u of its result.

What does not round is not moved: sums of numbers on one grid of powers of two whose size stays
below 2^24 steps (binary and small integer sums, in any order; Resize by powers of two, means of
2^k values and powers of them are such sums), Sign, comparisons, pooling by maximum, and what only
moves data. Nor is an element of Add, Sub, Mul, Div, Sqrt, Reciprocal or Pow whose float32 value is
the one that float64 gives from the same operands: the square root of 4 is 2. A tie among exact
values is never explained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from abc_tvm.checks.verify.exact import AVERAGES, RESIZES, SUMS, Arrays, Exact, inferred, reduced
from abc_tvm.engines.onnx_engine import OnnxEngine
from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.onnx_file import all_nodes, subgraphs

PAIRS = 4
"""Times that roundings are moved, there and back."""

UNIT = 2.0**-24
STEPS = 4 * UNIT
MEANS = 32 * UNIT
NORMS = 64 * UNIT
PLACES = 8 * UNIT

UNKNOWN_EXTENT = 256
"""Of an image whose size shape inference does not tell."""

GIVEN = "/given"
MOVED = "/moved"

_NORMS = frozenset(
    ["GroupNormalization", "InstanceNormalization", "LayerNormalization",
     "MeanVarianceNormalization"]
)  # fmt: skip
_SINGLE = frozenset(["Add", "Div", "Mul", "Pow", "Reciprocal", "Sqrt", "Sub"])
"""Operators of one rounding, whose exact results can be told."""


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
        kinds, shapes = inferred(model, self._arrays)
        exact = Exact(self._arrays, constants, kinds, shapes)
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            nodes.append(node)
            if node.domain or any(True for _ in subgraphs(node)):
                exact.unknown(node)
            elif exact.rounds(node):
                nodes.extend(self._steps(node, constants, shapes))
        del graph.node[:]
        graph.node.extend(nodes)
        for name, bound in self._noise.items():
            kind = onnx.TensorProto.FLOAT
            graph.input.append(helper.make_tensor_value_info(name, kind, list(bound.shape)))
        return result

    def _steps(
        self, node: onnx.NodeProto, constants: Arrays, shapes: Mapping[str, tuple[int, ...]]
    ) -> list[onnx.NodeProto]:
        """What moves the first result of a node: a factor, and for sums a distance."""
        name = node.output[0]
        node.output[0] = name + MOVED
        made: list[onnx.NodeProto] = []

        def op(kind: str, *names: str, out: str = "", **attrs: Any) -> str:
            made.append(
                helper.make_node(kind, list(names), [out or f"{name}{MOVED}{len(made)}"], **attrs)
            )
            return str(made[-1].output[0])

        def noise(bound: np.ndarray) -> str:
            key = f"{name}{MOVED}/noise{len(self._noise)}"
            self._noise[key] = bound
            return key

        share = op("Mul", node.output[0], noise(np.array(STEPS)))
        if node.op_type in _SINGLE:
            wide = [op("Cast", n, to=onnx.TensorProto.DOUBLE) for n in node.input]
            real = op(node.op_type, *wide)
            same = op("Equal", real, op("Cast", node.output[0], to=onnx.TensorProto.DOUBLE))
            share = op("Mul", share, op("Cast", op("Not", same), to=onnx.TensorProto.FLOAT))
        bound = _distance(node, constants, shapes)
        if bound is not None:
            distance = noise(bound)
            if node.op_type in RESIZES and len(shapes.get(node.input[0], ())) == 4:
                # Its inputs about the place: where all are 0, so is every result.
                about = op("MaxPool", op("Abs", node.input[0]), kernel_shape=[5, 5], pads=[2] * 4)
                made.append(onnx.NodeProto())
                made[-1].CopyFrom(node)
                made[-1].input[0], made[-1].output[0] = about, about + "/resized"
                made[-1].name += MOVED
                _set_linear(made[-1])
                distance = op("Mul", distance, about + "/resized")
            elif node.op_type != "BatchNormalization":
                made_of = node.output[0] if node.op_type in _NORMS else node.input[0]
                distance = op("Mul", distance, op("ReduceMax", op("Abs", made_of), keepdims=0))
            share = op("Add", share, distance)
        op("Add", node.output[0], share, out=name)
        return made


def _set_linear(node: onnx.NodeProto) -> None:
    """Make any Resize a linear one, whose results are means of its inputs."""
    kept = [
        a
        for a in node.attribute
        if a.name not in ("mode", "cubic_coeff_a", "exclude_outside", "nearest_mode")
    ]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("mode", "linear")])


def _distance(
    node: onnx.NodeProto, constants: Arrays, shapes: Mapping[str, tuple[int, ...]]
) -> np.ndarray | None:
    """Bound of a sum's rounding relative to its largest input, to be added to the result."""
    if node.op_type in AVERAGES:
        return np.array(MEANS)
    if node.op_type in _NORMS:
        return np.array(NORMS)
    if node.op_type in RESIZES:
        extents = shapes.get(node.input[0], (0, 0, UNKNOWN_EXTENT, UNKNOWN_EXTENT))[2:]
        kind = attributes(node).get("mode")
        return np.array(PLACES * (1 + sum(extents)) * (4 if kind == "cubic" else 1))
    if node.op_type == "ReduceSum":
        count = reduced(node, constants, shapes) or UNKNOWN_EXTENT
        return np.array(np.sqrt(count) * count * UNIT)
    if node.op_type == "BatchNormalization":
        if not all(name in constants for name in node.input[1:5]):
            return None
        gamma, beta, mean, variance = (constants[name].astype(float) for name in node.input[1:5])
        epsilon = float(attributes(node).get("epsilon", 1e-5))
        size = np.abs(mean * gamma) / np.sqrt(np.abs(variance) + epsilon) + np.abs(beta)
        return np.asarray(STEPS * size.max(initial=0))  # fits any rank
    weight = constants.get(node.input[1]) if node.op_type in SUMS else None
    if weight is None or weight.ndim < 2:
        return None
    if node.op_type == "ConvTranspose":
        rest, shape = (0, *range(2, weight.ndim)), (-1,) + (1,) * (weight.ndim - 2)
        groups = int(attributes(node).get("group", 1))
        weight = np.concatenate(np.split(weight, groups), axis=1)
    elif node.op_type == "Conv":
        rest, shape = tuple(range(1, weight.ndim)), (-1,) + (1,) * (weight.ndim - 2)
    elif node.op_type == "Gemm" and attributes(node).get("transB", 0):
        rest, shape = (1,), (-1,)
    else:
        rest, shape = tuple(range(weight.ndim - 1)), (-1,)
    count = prod(weight.shape[axis] for axis in rest)
    factor = abs(float(attributes(node).get("alpha", 1.0))) if node.op_type == "Gemm" else 1.0
    total = np.abs(weight).sum(rest, dtype=np.float64) * factor
    return (np.sqrt(count) * UNIT * total).reshape(shape)
