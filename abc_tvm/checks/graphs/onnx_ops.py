"""What ONNX operators compute, in NumPy: the checker's own reading of the standard.

Float32 arithmetic in the order that onnxruntime computes it. Operators that are not in ``TABLE``
go to the onnx package's own reference implementation. ``ROUNDED`` names those whose last place
depends on the runtime; ``ELEMENTWISE`` those that leave every element where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx
from onnx import helper

from abc_tvm.checks.graphs.windows import average_pool, max_pool, onnx_pads

Array = np.ndarray
Arrays = list[Any]
Attributes = dict[str, Any]
Operator = Callable[[Arrays, Attributes], Any]


class NotChecked(Exception):
    """Something that the checker does not know; the message says what."""


def _plain(function: Callable[..., Any]) -> Operator:
    return lambda args, attributes: function(*args)


def _variadic(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda args, attributes: reduce(function, args)


def _clip(args: Arrays, attributes: Attributes) -> Any:
    x = args[0]
    low = args[1] if len(args) > 1 else attributes.get("min")
    high = args[2] if len(args) > 2 else attributes.get("max")
    if low is not None:
        x = np.maximum(x, np.asarray(low, x.dtype))
    if high is not None:
        x = np.minimum(x, np.asarray(high, x.dtype))
    return x


def _batch_norm(args: Arrays, attributes: Attributes) -> Any:
    if attributes.get("training_mode"):
        raise NotChecked("BatchNormalization in training mode")
    x, gamma, beta, mean, variance = args
    scale = gamma * (
        np.float32(1) / np.sqrt(variance + np.float32(attributes.get("epsilon", 1e-5)))
    )
    shift = beta - mean * scale
    shape = (-1,) + (1,) * (x.ndim - 2)
    return x * scale.reshape(shape) + shift.reshape(shape)


def _cast(args: Arrays, attributes: Attributes) -> Any:
    return args[0].astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


def _divide(args: Arrays, attributes: Attributes) -> Any:
    a, b = args
    if np.issubdtype(np.asarray(a).dtype, np.integer):
        raise NotChecked("Div of integers")
    return np.divide(a, b)


def _leaky(args: Arrays, attributes: Attributes) -> Any:
    x = args[0]
    return np.where(x >= 0, x, x * np.float32(attributes.get("alpha", 0.01)))


def _prelu(args: Arrays, attributes: Attributes) -> Any:
    return np.where(args[0] < 0, args[0] * args[1], args[0])


def _sigmoid(x: Array) -> Any:
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(x.dtype)


def _axes(args: Arrays, attributes: Attributes) -> tuple[int, ...] | None:
    axes = args[1] if len(args) > 1 and args[1] is not None else attributes.get("axes")
    return None if axes is None else tuple(int(a) for a in np.asarray(axes).reshape(-1))


def _reduce(function: Callable[..., Any]) -> Operator:
    def run(args: Arrays, attributes: Attributes) -> Any:
        axes = _axes(args, attributes)
        if axes == () and attributes.get("noop_with_empty_axes"):
            return args[0]
        return function(args[0], axis=axes or None, keepdims=bool(attributes.get("keepdims", 1)))

    return run


def _squeeze(args: Arrays, attributes: Attributes) -> Any:
    return np.squeeze(args[0], _axes(args, attributes))


def _unsqueeze(args: Arrays, attributes: Attributes) -> Any:
    axes = _axes(args, attributes) or ()
    rank = args[0].ndim + len(axes)
    return np.expand_dims(args[0], tuple(a % rank for a in axes))


def _flatten(args: Arrays, attributes: Attributes) -> Any:
    axis = attributes.get("axis", 1)
    x = args[0]
    lead = int(np.prod(x.shape[: axis % x.ndim if axis < 0 else axis]))
    return x.reshape(lead, -1)


def _reshape(args: Arrays, attributes: Attributes) -> Any:
    x, target = args[0], [int(d) for d in args[1]]
    if not attributes.get("allowzero"):
        target = [x.shape[i] if d == 0 else d for i, d in enumerate(target)]
    images = attributes.get("images", 1)
    if images > 1 and target and target[0] * images == x.shape[0]:
        target[0] = x.shape[0]
    return x.reshape(target)


def _slice(args: Arrays, attributes: Attributes) -> Any:
    x = args[0]
    given = [*args[1:], *[None] * (5 - len(args))]
    starts = given[0] if given[0] is not None else attributes["starts"]
    ends = given[1] if given[1] is not None else attributes["ends"]
    axes = given[2] if given[2] is not None else attributes.get("axes", range(len(starts)))
    steps = given[3] if given[3] is not None else [1] * len(starts)
    at = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        low, high = int(start), int(end)
        if step < 0 and high < -x.shape[int(axis)]:
            at[int(axis)] = slice(low, None, int(step))
        else:
            at[int(axis)] = slice(low, high, int(step))
    return x[tuple(at)]


def _split(args: Arrays, attributes: Attributes) -> Any:
    x, axis = args[0], attributes.get("axis", 0)
    sizes = args[1] if len(args) > 1 else attributes.get("split")
    if sizes is None:
        size = -(-x.shape[axis] // attributes["outputs"])
        cuts = list(range(size, x.shape[axis], size))
    else:
        cuts = list(np.cumsum([int(s) for s in sizes])[:-1])
    return tuple(np.split(x, cuts, axis))


def _pad(args: Arrays, attributes: Attributes) -> Any:
    if attributes.get("mode", "constant") != "constant" or len(args) > 3:
        raise NotChecked("Pad of this mode")
    x = args[0]
    pads = [int(p) for p in (args[1] if len(args) > 1 else attributes["pads"])]
    value = args[2] if len(args) > 2 and args[2] is not None else attributes.get("value", 0)
    if min(pads, default=0) < 0:
        raise NotChecked("Pad with negative pads")
    width = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
    return np.pad(x, width, constant_values=np.asarray(value, x.dtype).reshape(()))


def _windows(x: Array, attributes: Attributes) -> tuple[list[int], ...]:
    """Kernel, strides, dilations and pads of a pooling."""
    kernel = [int(k) for k in attributes["kernel_shape"]]
    ones = [1] * len(kernel)
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    pads = onnx_pads(x.shape[2:], kernel, strides, dilations, attributes)
    return kernel, strides, dilations, pads


def _max_pool(args: Arrays, attributes: Attributes) -> Any:
    kernel, strides, dilations, pads = _windows(args[0], attributes)
    ceil = bool(attributes.get("ceil_mode"))
    return max_pool(args[0], kernel, strides, dilations, pads, ceil, first=2)


def _average_pool(args: Arrays, attributes: Attributes) -> Any:
    kernel, strides, dilations, pads = _windows(args[0], attributes)
    if attributes.get("ceil_mode") or any(d != 1 for d in dilations):
        raise NotChecked("AveragePool with ceil_mode or dilations")
    include = bool(attributes.get("count_include_pad"))
    return average_pool(args[0], kernel, strides, pads, include, 2)


def _global_average(args: Arrays, attributes: Attributes) -> Any:
    return args[0].mean(axis=tuple(range(2, args[0].ndim)), keepdims=True)


def _quantize(args: Arrays, attributes: Attributes) -> Any:
    x, scale = args[:2]
    zero = args[2] if len(args) > 2 and args[2] is not None else np.zeros((), np.uint8)
    scale, point = (_along_axis(v, x.ndim, attributes) for v in (scale, zero))
    limits = np.iinfo(zero.dtype)
    whole = np.rint(x / scale) + point.astype(np.float32)
    return np.clip(whole, limits.min, limits.max).astype(zero.dtype)


def _dequantize(args: Arrays, attributes: Attributes) -> Any:
    x, scale = args[:2]
    zero = args[2] if len(args) > 2 and args[2] is not None else np.zeros((), x.dtype)
    scale, point = (_along_axis(v, x.ndim, attributes) for v in (scale, zero))
    return (x.astype(np.int32) - point.astype(np.int32)).astype(np.float32) * scale


def _along_axis(values: Any, rank: int, attributes: Attributes) -> Any:
    """A scale for each slice along an axis, shaped to broadcast."""
    if np.size(values) == 1:
        return np.asarray(values).reshape(())
    if attributes.get("block_size") or np.ndim(values) != 1:
        raise NotChecked("quantization by blocks")
    shape = [1] * rank
    shape[attributes.get("axis", 1)] = -1
    return values.reshape(shape)


def _transpose(args: Arrays, attributes: Attributes) -> Any:
    return np.transpose(args[0], attributes.get("perm"))


def _concat(args: Arrays, attributes: Attributes) -> Any:
    return np.concatenate(args, attributes["axis"])


def _gather(args: Arrays, attributes: Attributes) -> Any:
    return np.take(args[0], args[1], axis=attributes.get("axis", 0))


def _mean_of(args: Arrays, attributes: Attributes) -> Any:
    return reduce(np.add, args) / np.float32(len(args))


_POINTWISE: dict[str, Operator] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": _plain(np.ceil),
    "Clip": _clip,
    "DequantizeLinear": _dequantize,
    "Div": _divide,
    "Equal": _plain(np.equal),
    "Floor": _plain(np.floor),
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": lambda args, attributes: args[0],
    "LeakyRelu": _leaky,
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "PRelu": _prelu,
    "QuantizeLinear": _quantize,
    "Relu": lambda args, attributes: np.maximum(args[0], args[0].dtype.type(0)),
    "Round": _plain(np.rint),
    "Sigmoid": lambda args, attributes: _sigmoid(args[0]),
    "Sign": _plain(np.sign),
    "Sub": _plain(np.subtract),
    "Sum": _variadic(np.add),
    "Tanh": _plain(np.tanh),
    "Where": _plain(np.where),
    "Xor": _plain(np.logical_xor),
}

TABLE: dict[str, Operator] = {
    **_POINTWISE,
    "AveragePool": _average_pool,
    "Concat": _concat,
    "Flatten": _flatten,
    "Gather": _gather,
    "GlobalAveragePool": _global_average,
    "MaxPool": _max_pool,
    "Mean": _mean_of,
    "Pad": _pad,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

_LIKEWISE = (
    "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Log", "Mish", "Mod",
    "Pow", "Reciprocal", "Selu", "Sin", "Softplus", "Softsign", "Sqrt", "ThresholdedRelu",
)  # fmt: skip

ELEMENTWISE = frozenset((*_POINTWISE, *_LIKEWISE, "Mean"))

ROUNDED = frozenset({
    "AveragePool", "Celu", "Cos", "Elu", "Erf", "Exp", "Gelu", "GlobalAveragePool", "HardSigmoid",
    "HardSwish", "Log", "Mean", "Mish", "Pow", "ReduceMean", "ReduceSum", "Reciprocal", "Selu",
    "Sigmoid", "Sin", "Softplus", "Softsign", "Sum", "Tanh",
})  # fmt: skip

_ERRORS = (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


def run(node: onnx.NodeProto, args: Arrays, opset: int, images: int) -> tuple[Any, ...]:
    """Outputs of one node.

    ``images`` says how many times as many images as the graph has are computed at once: constant
    shapes are stretched by as much.

    Raises:
        NotChecked: The operator is not known in this form.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    function = TABLE.get(node.op_type) if not node.domain else None
    try:
        with np.errstate(all="ignore"):
            if function is None:
                return _by_reference(node, args, opset)
            extra = {"images": images, "outputs": len(node.output)}
            result = function(args, {**extra, **attributes})
    except _ERRORS as error:
        text = " ".join(str(error).split())[:80]
        raise NotChecked(f"{node.op_type}: {type(error).__name__}: {text}") from error
    return result if isinstance(result, tuple) else (np.asarray(result),)


def _by_reference(node: onnx.NodeProto, args: Arrays, opset: int) -> tuple[Any, ...]:
    from onnx.reference import ReferenceEvaluator  # takes half a second to import

    if any(
        a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute
    ):
        raise NotChecked(f"{node.op_type} holds a graph")
    names = [name for name, value in zip(node.input, args, strict=False) if value is not None]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_empty_tensor_value_info(n) for n in dict.fromkeys(names)],
        [helper.make_empty_tensor_value_info(n) for n in node.output if n],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {n: v for n, v in zip(node.input, args, strict=False) if v is not None}
    return tuple(ReferenceEvaluator(model).run(None, feeds))
