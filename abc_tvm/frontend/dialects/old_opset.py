"""Models of an opset older than 9: raised to 9 where ONNX knows how."""

from __future__ import annotations

import math

import onnx
from onnx import defs, shape_inference, version_converter

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.onnx_file import MIN_OPSET, STANDARD_DOMAINS, all_nodes, opset_of, too_old

_PRELU = 7
"""The opset from which a slope is broadcast from the last axis, not from the channels."""


def raise_old_opset(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """``model`` itself from opset 9 on, else the same network in opset 9.

    Where no operator's definition changed in between, the number alone is another one.

    Args:
        model: In standard operators, parameters as initializers; not changed.
        label: What messages call the model.

    Raises:
        UnsupportedError: ONNX's converter does not take an operator of it.
    """
    version = opset_of(model)
    if version >= MIN_OPSET:
        return model
    if version < _PRELU and _has_slopes(model):
        raise UnsupportedError(too_old(label, version))  # the converter leaves its slope as it is
    if all(_same(node.op_type, version) for node in all_nodes(model.graph)):
        result = onnx.ModelProto()
        result.CopyFrom(model)
        for opset in result.opset_import:
            if opset.domain in STANDARD_DOMAINS:
                opset.version = MIN_OPSET
        return result
    try:
        return version_converter.convert_version(model, MIN_OPSET)
    except (version_converter.ConvertError, shape_inference.InferenceError, RuntimeError) as error:
        raise UnsupportedError(too_old(label, version)) from error


def _has_slopes(model: onnx.ModelProto) -> bool:
    """Whether a PRelu has a slope for each channel."""
    one = {t.name for t in model.graph.initializer if math.prod(t.dims) == 1}
    nodes = [node for node in all_nodes(model.graph) if node.op_type == "PRelu"]
    return any(node.input[1] not in one for node in nodes)


def _same(op_type: str, version: int) -> bool:
    old = defs.get_schema(op_type, version, "")
    return bool(old.since_version == defs.get_schema(op_type, MIN_OPSET, "").since_version)
