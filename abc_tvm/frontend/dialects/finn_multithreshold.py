"""FINN's ``MultiThreshold`` in standard operators.

``y[c] = out_scale * sum over t of (x[c] >= T[c, t]) + out_bias``, with thresholds T of shape [C, n]
or [1, n] and the channel axis given by ``data_layout``. Each threshold becomes one
``GreaterOrEqual -> Cast`` branch and a ``Sum`` joins them, all element-wise, which is the form that
activation recognition evaluates. Thresholds need not be sorted. ``out_dtype`` is an annotation
that does not change values, here as in FINN.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from abc_tvm.frontend.graph_edit import Array, GraphEditor, attributes

_DEFAULT_LAYOUT = {2: "NC", 3: "NWC", 4: "NCHW"}


def rewrite_multithreshold(edit: GraphEditor, node: onnx.NodeProto) -> None:
    """Append the standard form of a ``MultiThreshold`` node."""
    x, thresholds_name = edit.inputs(node, ("x", "thresholds"))
    attrs = attributes(node)
    value = edit.value(thresholds_name)
    if value is None:
        raise edit.refuse(node, "has thresholds computed at run time; make them a constant")
    if value.ndim != 2 or 0 in value.shape:
        raise edit.invalid(node, f"needs thresholds of shape [C, n], not {list(value.shape)}")
    thresholds = _as_float32(value)
    shape = _channel_shape(edit, node, x, thresholds.shape[0], str(attrs.get("data_layout", "")))
    branches = []
    for column in thresholds.T:
        bound = edit.constant(column.reshape(shape), f"{thresholds_name}/step")
        fires = edit.op(node, "GreaterOrEqual", x, bound)
        branches.append(edit.op(node, "Cast", fires, to=onnx.TensorProto.FLOAT))
    scale, bias = float(attrs.get("out_scale", 1.0)), float(attrs.get("out_bias", 0.0))
    steps: list[tuple[str, float]] = []
    if scale != 1.0:
        steps.append(("Mul", scale))
    if bias != 0.0:
        steps.append(("Add", bias))
    last = node.output[0]
    y = edit.op(node, "Sum", *branches, out="" if steps else last)
    for index, (op_type, number) in enumerate(steps):
        out = last if index == len(steps) - 1 else ""
        y = edit.op(node, op_type, y, edit.constant(number, op_type.lower()), out=out)


def _channel_shape(
    edit: GraphEditor, node: onnx.NodeProto, x: str, channels: int, layout: str
) -> tuple[int, ...]:
    """The shape that lines thresholds of one step up with the channels of ``x``."""
    if channels == 1:
        return ()
    rank = edit.ranks.get(x)
    if rank is None:
        raise edit.invalid(
            node, f"has an input {x!r} of unknown rank; run ONNX shape inference on the model"
        )
    layout = layout or _DEFAULT_LAYOUT.get(rank, "")
    axis = layout.index("C") if "C" in layout else 1
    if axis >= rank or (layout and len(layout) != rank):
        raise edit.invalid(node, f"has data_layout {layout!r} for an input of rank {rank}")
    return tuple(channels if i == axis else 1 for i in range(rank))


def _as_float32(value: Array) -> NDArray[np.float32]:
    """Thresholds as float32, rounded up, so that ``x >= T`` is unchanged for float32 ``x``."""
    with np.errstate(over="ignore"):
        rounded = value.astype(np.float32)
    low = rounded.astype(np.float64) < value.astype(np.float64)
    return np.where(low, np.nextafter(rounded, np.float32(np.inf)), rounded).astype(np.float32)
