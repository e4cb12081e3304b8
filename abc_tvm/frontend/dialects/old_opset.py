"""Models of an opset older than 9, and of quantized networks of opset 10: raised where ONNX can."""

from __future__ import annotations

import math

import onnx
from onnx import defs, shape_inference, version_converter

from abc_tvm.errors import UnsupportedError
from abc_tvm.frontend.onnx_file import MIN_OPSET, STANDARD_DOMAINS, all_nodes, opset_of, too_old

_ROUND = 11
"""The opset that has Round, which quantizers are made of."""

_QUANTIZERS = ("DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear")

_PRELU = 7
"""The opset from which a slope is broadcast from the last axis, not from the channels."""


def raise_old_opset(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """``model`` itself from opset 9 on, else the same network in opset 9.

    A quantized one of opset 10 becomes one of opset 11, if the converter takes it.

    Where no operator's definition changed in between, the number alone is another one.

    Args:
        model: In standard operators, parameters as initializers; not changed.
        label: What messages call the model.

    Raises:
        UnsupportedError: ONNX's converter does not take an operator of it.
    """
    version = opset_of(model)
    if version == _ROUND - 1 and any(n.op_type in _QUANTIZERS for n in model.graph.node):
        return _with_round(model)
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


def _with_round(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(model, _ROUND)
    except (version_converter.ConvertError, shape_inference.InferenceError, RuntimeError):
        return model


def _has_slopes(model: onnx.ModelProto) -> bool:
    """Whether a PRelu has a slope for each channel."""
    one = {t.name for t in model.graph.initializer if math.prod(t.dims) == 1}
    nodes = [node for node in all_nodes(model.graph) if node.op_type == "PRelu"]
    return any(node.input[1] not in one for node in nodes)


def _same(op_type: str, version: int) -> bool:
    old = defs.get_schema(op_type, version, "")
    return bool(old.since_version == defs.get_schema(op_type, MIN_OPSET, "").since_version)
