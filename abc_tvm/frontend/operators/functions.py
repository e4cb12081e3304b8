"""Operators that ONNX defines as functions of others: their own bodies take their place.

The body is what ONNX says the operator means, so whatever the importer lacks or gets wrong among
them is named in ``EXPANDED`` and nothing else has to be written down. Bodies are written for a
version of the operator set, which may be older than the model's: reductions then carry their axes
in an attribute that became an input (``_settle_axes``). A branch in a body is settled afterwards,
as any other is (``control``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, defs, helper

from abc_tvm.frontend.graph_edit import constant_of
from abc_tvm.frontend.operators.control import rename_inside
from abc_tvm.frontend.operators.rewriter import Rewrite, Rewriter
from abc_tvm.frontend.operators.spell import rounded_once

EXPANDED = (
    "Attention",
    "BlackmanWindow",
    "CausalConvWithState",
    "Celu",
    "HammingWindow",
    "HannWindow",
    "HardSwish",
    "LinearAttention",
    "NegativeLogLikelihoodLoss",
    "RotaryEmbedding",
    "SoftmaxCrossEntropyLoss",
    "SwiGLU",
    "Swish",
)


_WINDOWS = ("BlackmanWindow", "HammingWindow", "HannWindow")
"""Their one input is how many elements they make."""


def expand(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Put the operator's own body in the place of ``node``; False where there is none."""
    body = _body(edit, node)
    if body is None:
        return False
    if node.op_type in _WINDOWS:
        size = edit.value(node.input[0])
        edit.refuse_table(node, 0 if size is None else int(np.max(size, initial=0)))
    names = {"": ""}
    names.update(zip(body.input, node.input, strict=False))
    for missing in body.input[len(node.input) :]:
        names[missing] = ""
    names.update(
        (inner, outer) for inner, outer in zip(body.output, node.output, strict=False) if outer
    )
    given = {attribute.name: attribute for attribute in node.attribute}
    defaults = _defaults(body, node.op_type, edit.opset)
    base = node.name or node.output[0]
    for inner in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        copy.name = f"{base}/{inner.op_type}_{len(edit.nodes)}"
        del copy.attribute[:]
        for attribute in inner.attribute:
            settled = _settle(attribute, given, defaults)
            if settled is not None:
                copy.attribute.append(settled)
        if copy.op_type == "Constant":
            value = constant_of(copy)
            if value is None:
                raise edit.refuse(node, "computes on strings; replace it and export again")
            names[inner.output[0]] = edit.constant(np.asarray(value), f"{base}/{inner.output[0]}")
            continue
        for index, name in enumerate(inner.input):
            copy.input[index] = names[name]
        rename_inside(copy, names, edit)
        for index, name in enumerate(inner.output):
            if name and name not in names:
                names[name] = edit.fresh(f"{base}/{name}")
            copy.output[index] = names.get(name, "")
        _settle_axes(edit, copy)
        edit.nodes.append(copy)
    for inner_name, outer in zip(body.output, node.output, strict=False):
        if outer and names[inner_name] != outer:  # a constant, or an input handed through
            edit.op(node, "Identity", names[inner_name], out=outer)
    return True


def _body(edit: Rewriter, node: onnx.NodeProto) -> onnx.FunctionProto | None:
    # Any, because onnx's stub does not know the functions of a schema.
    schema: Any = defs.get_schema(node.op_type, edit.opset, "")
    known = [v for v in schema.function_opset_versions if v <= edit.opset]
    if known:
        text = schema.get_function_with_opset_version(max(known))
        return onnx.FunctionProto.FromString(text)
    known = [v for v in schema.context_dependent_function_opset_versions if v <= edit.opset]
    if not known:
        return None
    types = [_type(edit, name).SerializeToString() for name in node.input]
    text = schema.get_context_dependent_function_with_opset_version(
        max(known), node.SerializeToString(), types
    )
    return onnx.FunctionProto.FromString(text) if text else None


def _type(edit: Rewriter, name: str) -> onnx.TypeProto:
    if not name:
        return onnx.TypeProto()
    return helper.make_tensor_type_proto(edit.dtypes.get(name, 0), edit.shapes.get(name))


def _defaults(body: onnx.FunctionProto, op_type: str, opset: int) -> dict[str, AttributeProto]:
    schema = defs.get_schema(op_type, opset, "")
    defaults = {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }
    defaults.update((attribute.name, attribute) for attribute in body.attribute_proto)
    return defaults


def _settle(
    attribute: AttributeProto,
    given: Mapping[str, AttributeProto],
    defaults: Mapping[str, AttributeProto],
) -> AttributeProto | None:
    """The attribute itself, or the one of the outer node that it stands for."""
    if not attribute.ref_attr_name:
        return attribute
    source = given.get(attribute.ref_attr_name, defaults.get(attribute.ref_attr_name))
    if source is None:
        return None
    result = AttributeProto()
    result.CopyFrom(source)
    result.name = attribute.name
    return result


def _settle_axes(edit: Rewriter, node: onnx.NodeProto) -> None:
    schema = defs.get_schema(node.op_type, edit.opset, "")
    takes = [value.name for value in schema.inputs]
    if "axes" not in takes or "axes" in schema.attributes:
        return
    for index, attribute in enumerate(node.attribute):
        if attribute.name == "axes":
            axes = edit.integers(list(attribute.ints), f"{node.output[0]}/axes")
            del node.attribute[index]
            node.input.append(axes)
            return


_OF_ONE_TENSOR = ("HardSwish", "Swish")

REWRITES: dict[str, Rewrite] = {
    **dict.fromkeys(EXPANDED, expand),
    **dict.fromkeys(_OF_ONE_TENSOR, rounded_once(expand)),
}
