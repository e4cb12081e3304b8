"""What is said of a node that TVM's importer fails on: which node, on what, and what to do.

The importer lets whatever its converters hit escape (``'Var' object has no attribute 'value'``).
Such a text says nothing to a user, so it does not reach him; the exception stays as the cause. Only
where the importer refuses a form of an operator by name is its reason passed on.
"""

from __future__ import annotations

import re
from types import TracebackType

import onnx

from abc_tvm.frontend.graph_edit import describe
from abc_tvm.frontend.operators.rewriter import Rewriter

_CODE = re.compile(r"Check failed|object|<class|\bNone\b|0x[0-9a-f]|__")
"""What a reason for users does not hold."""

_SHOWN = 4
"""Inputs and attributes that are named."""


def failed_node(error: BaseException, model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The node that the importer was at when it failed."""
    nodes = {node.SerializeToString() for node in model.graph.node}
    failed = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        node = trace.tb_frame.f_locals.get("node")
        if isinstance(node, onnx.NodeProto) and node.SerializeToString() in nodes:
            failed = node
        trace = trace.tb_next
    return failed


def why_not(error: BaseException, model: onnx.ModelProto) -> str:
    """One sentence without the model's name."""
    node = failed_node(error, model)
    if node is None:
        return "its graph is in a form that is not supported; simplify it and export again"
    known = Rewriter(model, "")
    reads = [_operand(known, name) for name in node.input if name]
    form = f"on {', '.join(reads[:_SHOWN])}" if reads else "without inputs"
    settings = [_setting(attribute) for attribute in node.attribute[:_SHOWN]]
    if settings:
        form += f" with {', '.join(settings)}"
    advice = "replace it by other operators, or give it other shapes, and export again"
    computed = [name for name in node.input[1:] if _is_computed_integers(known, name)]
    if computed:
        advice = f"store {computed[0]!r} as a constant and export again"
    elif any(isinstance(d, str) for name in node.input for d in known.shapes.get(name, ())):
        advice = "compile with a fixed batch (--batch), or replace it by other operators"
    reason = _reason(error, node)
    return f"{describe(node)} {form} is not supported{reason}; {advice}"


def _is_computed_integers(known: Rewriter, name: str) -> bool:
    """Whether it may be a shape or axes that only a run knows."""
    return known.dtypes.get(name) == onnx.TensorProto.INT64 and known.value(name) is None


def _reason(error: BaseException, node: onnx.NodeProto) -> str:
    """What the importer says itself, where it says it of this operator."""
    text = " ".join(str(error).split())
    meant = isinstance(error, NotImplementedError | ValueError) and node.op_type in text
    if not meant or _CODE.search(text):
        return ""
    return f" ({text[:200].rstrip('.')})"


def _operand(known: Rewriter, name: str) -> str:
    kind = known.dtypes.get(name)
    word = "a tensor" if kind is None else onnx.TensorProto.DataType.Name(kind).lower()
    shape = known.shapes.get(name)
    if shape is None:
        return f"{word} of unknown rank"
    stored = "stored " if known.value(name) is not None else ""
    return f"{stored}{word}[{', '.join('?' if d is None else str(d) for d in shape)}]"


def _setting(attribute: onnx.AttributeProto) -> str:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto | onnx.GraphProto):
        return attribute.name
    text = str(list(value)) if attribute.ints or attribute.floats else str(value)
    return f"{attribute.name}={text[:40]}"
