"""PyTorch on the CPU, an opponent of ``bench``: an ONNX graph as calls of torch functions.

The calls are traced, frozen and optimised for inference by torch itself: batch normalization is
folded into convolutions, and these go to oneDNN.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from abc_tvm.errors import MissingDependencyError, UnsupportedError

Attributes = dict[str, Any]
Operator = Callable[..., Any]
"""``operator(torch, attributes, *inputs)``."""

STEERED = ("Reshape", "ReduceMean")
"""Operators whose second operand is a shape, or axes."""


class TorchEngine:
    """A traced torch module.

    Args:
        model: In standard ONNX operators, with fixed shapes.
        inputs: One input of the network, to trace with.
        threads: Of one operator; torch keeps one number for the whole process.

    Raises:
        MissingDependencyError: torch is not installed.
        UnsupportedError: The graph has an operator that is not in :data:`OPERATORS`, or torch
            refuses it.
    """

    def __init__(
        self, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], *, threads: int = 1
    ) -> None:
        self._torch = torch = require_torch()
        torch.set_num_threads(threads)
        self._inputs = list(inputs)
        self._outputs = [value.name for value in model.graph.output]
        example = tuple(torch.from_numpy(array) for array in inputs.values())
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of every constant that it meets
            try:
                traced = torch.jit.trace(_module(torch, model, self._inputs).eval(), example)
                self._run = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
            except (RuntimeError, TypeError, ValueError) as error:
                detail = " ".join(str(error).split())[:300]
                raise UnsupportedError(f"torch cannot run the model: {detail}") from error

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """ONNX input name to array, and output name to array."""
        with self._torch.inference_mode():
            results = self._run(*(self._torch.from_numpy(inputs[name]) for name in self._inputs))
        return {name: result.numpy() for name, result in zip(self._outputs, results, strict=True)}


def require_torch() -> Any:
    """The module ``torch``; raises ``MissingDependencyError`` where there is none."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "torch is not installed, and this command compares with it: "
            "pip install 'abc-tvm[torch]'"
        ) from error
    return torch


def _module(torch: Any, model: onnx.ModelProto, inputs: list[str]) -> Any:
    nodes = list(model.graph.node)
    for node in nodes:
        if node.op_type not in OPERATORS:
            raise UnsupportedError(
                f"torch: node {node.name or node.output[0]!r}: the engine has no operator "
                f"{node.op_type}; leave torch away"
            )
    attributes = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in nodes]
    arrays = {t.name: np.array(numpy_helper.to_array(t)) for t in model.graph.initializer}
    # Shapes and axes steer the trace; they are numbers to it, and no tensors.
    steering = {n.input[1] for n in nodes if n.op_type in STEERED and len(n.input) > 1}
    outputs = [value.name for value in model.graph.output]

    class Graph(torch.nn.Module):
        """The graph, node by node."""

        def __init__(self) -> None:
            super().__init__()
            self.constants = torch.nn.ParameterDict()
            self.keys: dict[str, str] = {}
            for number, (name, array) in enumerate(arrays.items()):
                if name not in steering:
                    self.keys[name] = f"c{number}"
                    tensor = torch.from_numpy(array)
                    self.constants[f"c{number}"] = torch.nn.Parameter(tensor, requires_grad=False)

        def forward(self, *given: Any) -> tuple[Any, ...]:
            values: dict[str, Any] = dict(zip(inputs, given, strict=True))
            values |= {name: self.constants[key] for name, key in self.keys.items()}
            values |= {name: arrays[name].tolist() for name in steering}
            for node, attrs in zip(nodes, attributes, strict=True):
                operands = [values[name] if name else None for name in node.input]
                values[node.output[0]] = OPERATORS[node.op_type](torch, attrs, *operands)
            return tuple(values[name] for name in outputs)

    return Graph()


def _padded(torch: Any, attrs: Attributes, x: Any, fill: float) -> Any:
    """``x`` with the border of ONNX's ``pads`` (all begins, then all ends)."""
    pads = list(attrs.get("pads", [0, 0, 0, 0]))
    if not any(pads):
        return x
    half = len(pads) // 2
    border = [p for axis in reversed(range(half)) for p in (pads[axis], pads[axis + half])]
    return torch.nn.functional.pad(x, border, value=fill)


def _window(attrs: Attributes) -> tuple[Attributes, list[int]]:
    """Keywords of a window operator, and the padding that both sides share."""
    pads = list(attrs.get("pads", [0, 0, 0, 0]))
    half = len(pads) // 2
    shared = pads[:half] if pads[:half] == pads[half:] else [0] * half
    words = {"stride": list(attrs.get("strides", [1] * half))}
    return words, shared


def _conv(torch: Any, attrs: Attributes, x: Any, w: Any, b: Any = None) -> Any:
    words, shared = _window(attrs)
    if not any(shared):
        x = _padded(torch, attrs, x, 0.0)
    dilation = list(attrs.get("dilations", [1, 1]))
    return torch.nn.functional.conv2d(
        x, w, b, padding=shared, dilation=dilation, groups=attrs.get("group", 1), **words
    )


def _max_pool(torch: Any, attrs: Attributes, x: Any) -> Any:
    words, shared = _window(attrs)
    kernel = list(attrs["kernel_shape"])
    if any(2 * p > k for p, k in zip(shared, kernel, strict=True)) or not any(shared):
        x, shared = _padded(torch, attrs, x, -np.inf), [0, 0]
    return torch.nn.functional.max_pool2d(
        x, kernel, padding=shared, dilation=list(attrs.get("dilations", [1, 1])),
        ceil_mode=bool(attrs.get("ceil_mode", 0)), **words,
    )  # fmt: skip


def _average_pool(torch: Any, attrs: Attributes, x: Any) -> Any:
    words, shared = _window(attrs)
    if any(attrs.get("pads", [])) and not any(shared):
        raise UnsupportedError("torch: AveragePool with uneven padding; leave torch away")
    return torch.nn.functional.avg_pool2d(
        x, list(attrs["kernel_shape"]), padding=shared,
        ceil_mode=bool(attrs.get("ceil_mode", 0)),
        count_include_pad=bool(attrs.get("count_include_pad", 0)), **words,
    )  # fmt: skip


def _gemm(torch: Any, attrs: Attributes, a: Any, b: Any, c: Any = None) -> Any:
    a = a.t() if attrs.get("transA") else a
    b = b.t() if attrs.get("transB") else b
    product = attrs.get("alpha", 1.0) * (a @ b) if attrs.get("alpha", 1.0) != 1.0 else a @ b
    return product if c is None else product + attrs.get("beta", 1.0) * c


def _batch_norm(
    torch: Any, attrs: Attributes, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Any:
    return torch.nn.functional.batch_norm(
        x, mean, variance, scale, bias, eps=attrs.get("epsilon", 1e-5)
    )


def _cast(torch: Any, attrs: Attributes, x: Any) -> Any:
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(attrs["to"])).name
    return x.to(getattr(torch, kind))


def _clip(_: Any, attrs: Attributes, x: Any, low: Any = None, high: Any = None) -> Any:
    low, high = attrs.get("min", low), attrs.get("max", high)
    return x if low is None and high is None else x.clamp(low, high)


def _sum(_: Any, __: Attributes, first: Any, *rest: Any) -> Any:
    for term in rest:
        first = first + term
    return first


def _reshape(_: Any, __: Attributes, x: Any, shape: list[int]) -> Any:
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape)])


def _reduce_mean(_: Any, attrs: Attributes, x: Any, axes: list[int] | None = None) -> Any:
    chosen = attrs.get("axes", axes)
    whole = list(range(x.dim()))
    return x.mean(whole if chosen is None else chosen, keepdim=bool(attrs.get("keepdims", 1)))


def _prelu(torch: Any, _: Attributes, x: Any, slope: Any) -> Any:
    return torch.where(x < 0, x * slope, x)


def _flatten(_: Any, attrs: Attributes, x: Any) -> Any:
    return x.reshape(math.prod(x.shape[: attrs.get("axis", 1)]), -1)


OPERATORS: dict[str, Operator] = {
    "Abs": lambda _, __, x: x.abs(),
    "Add": lambda _, __, a, b: a + b,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _conv,
    "Div": lambda _, __, a, b: a / b,
    "Flatten": _flatten,
    "Floor": lambda _, __, x: x.floor(),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, __, x: x.mean((2, 3), keepdim=True),
    "Greater": lambda _, __, a, b: a > b,
    "GreaterOrEqual": lambda _, __, a, b: a >= b,
    "Less": lambda _, __, a, b: a < b,
    "LessOrEqual": lambda _, __, a, b: a <= b,
    "MatMul": lambda _, __, a, b: a @ b,
    "MaxPool": _max_pool,
    "Mul": lambda _, __, a, b: a * b,
    "Neg": lambda _, __, x: -x,
    "PRelu": _prelu,
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, __, x: x.relu(),
    "Reshape": _reshape,
    "Round": lambda _, __, x: x.round(),
    "Sigmoid": lambda _, __, x: x.sigmoid(),
    "Sign": lambda _, __, x: x.sign(),
    "Softmax": lambda _, attrs, x: x.softmax(attrs.get("axis", -1)),
    "Sub": lambda _, __, a, b: a - b,
    "Sum": _sum,
    "Tanh": lambda _, __, x: x.tanh(),
    "Transpose": lambda _, attrs, x: x.permute(attrs["perm"]),
    "Where": lambda torch, _, c, a, b: torch.where(c, a, b),
}
"""ONNX operators that networks of this field are made of; their meaning is ONNX's."""
