"""Rewrite the dialects of binarized networks (QONNX, FINN) into standard ONNX operators.

A dialect operator is looked up by name in any of the domains that its tools have used over the
years. To take another one, write its rewrite function and add a row to ``REWRITES``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import onnx
from onnx import helper, inliner, shape_inference, version_converter

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend.dialects.finn_multithreshold import rewrite_multithreshold
from abc_tvm.frontend.dialects.qonnx_quant import rewrite_bipolar, rewrite_quant, rewrite_trunc
from abc_tvm.frontend.graph_edit import GraphEditor, describe, drop_unused_initializers
from abc_tvm.frontend.onnx_file import (
    STANDARD_DOMAINS,
    all_nodes,
    foreign_domains,
    opset_of,
    subgraphs,
)

DIALECT_DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
REWRITES: dict[str, Callable[[GraphEditor, onnx.NodeProto], None]] = {
    "BipolarQuant": rewrite_bipolar,
    "Quant": rewrite_quant,
    "IntQuant": rewrite_quant,
    "Trunc": rewrite_trunc,
    "MultiThreshold": rewrite_multithreshold,
}
# The first opset with GreaterOrEqual, Round, and Clip with its bounds as inputs.
REWRITE_OPSET = 13


def to_standard(model: onnx.ModelProto, *, label: str = "model") -> onnx.ModelProto:
    """The same network in standard ONNX operators only.

    Local functions are inlined, graph inputs that only repeat an initializer are removed, and the
    opset is raised where a rewritten operator needs it.

    Args:
        model: A checked model; not changed. Constants feeding dialect operators stay in the graph.
        label: What messages call the model.

    Raises:
        UnsupportedError: An operator of another domain, or a dialect form that is not supported.
        ModelError: A dialect operator that breaks its own rules, or an opset that cannot be raised.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in all_nodes(result.graph):
        if node.domain in STANDARD_DOMAINS:
            node.ClearField("domain")
    _refuse_unknown(result, label)
    _drop_parameter_inputs(result)
    if foreign_domains(result):
        result = _raise_opset(result, label)
        _rewrite(result, label)
    _clean_imports(result)
    drop_unused_initializers(result)
    return result


def _is_dialect(node: onnx.NodeProto) -> bool:
    return node.domain in DIALECT_DOMAINS and node.op_type in REWRITES


def _refuse_unknown(model: onnx.ModelProto, label: str) -> None:
    for node in all_nodes(model.graph):
        if node.domain and not _is_dialect(node):
            raise UnsupportedError(
                f"{label}: {describe(node)} is not supported; replace it by standard ONNX operators"
            )
        if node.domain and not (node.input and node.output):
            raise ModelError(f"{label}: {describe(node)} has no input or output; export it again")
    for outer in model.graph.node:
        for graph in subgraphs(outer):
            for node in all_nodes(graph):
                if node.domain:
                    raise UnsupportedError(
                        f"{label}: {describe(node)} lies in a {outer.op_type} body, where it is "
                        "not supported; export the model without control flow"
                    )


def _drop_parameter_inputs(model: onnx.ModelProto) -> None:
    """Remove the inputs that repeat initializers, which files of IR version 3 must have."""
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in stored]
    if len(kept) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)


def _raise_opset(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    version = opset_of(model)
    if version >= REWRITE_OPSET:
        return model
    source = onnx.ModelProto()
    source.CopyFrom(model)
    _import_dialects(source)
    # The converter needs shapes, and dialect operators hide them.
    known = {value.name for value in source.graph.value_info}
    known.update(value.name for value in (*source.graph.input, *source.graph.output))
    for value in _infer(source).graph.value_info:
        if value.name not in known:
            source.graph.value_info.append(value)
    try:
        return version_converter.convert_version(source, REWRITE_OPSET)
    except (version_converter.ConvertError, shape_inference.InferenceError, RuntimeError) as error:
        changed = _changed_operators(model, version)
        if changed:
            raise ModelError(
                f"{label}: its dialect operators need opset {REWRITE_OPSET}, but opset {version} "
                f"cannot be raised because of {', '.join(changed)}; export with opset "
                f"{REWRITE_OPSET} or newer"
            ) from error
    for opset in source.opset_import:
        if opset.domain in STANDARD_DOMAINS:
            opset.version = REWRITE_OPSET
    return source


def _changed_operators(model: onnx.ModelProto, version: int) -> list[str]:
    """Standard operators of ``model`` whose definition changed up to ``REWRITE_OPSET``."""
    used = {node.op_type for node in all_nodes(model.graph) if not node.domain}
    return sorted(
        op_type
        for op_type in used
        if onnx.defs.get_schema(op_type, version, "").since_version
        != onnx.defs.get_schema(op_type, REWRITE_OPSET, "").since_version
    )


def _import_dialects(model: onnx.ModelProto) -> None:
    known = {opset.domain for opset in model.opset_import}
    for domain in sorted(foreign_domains(model) - known):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with inferred shapes, each dialect operator taken as shape preserving."""
    proxy = onnx.ModelProto()
    proxy.CopyFrom(model)
    for node in proxy.graph.node:
        if _is_dialect(node):
            first = node.input[0]
            stand_in = helper.make_node("Identity", [first], [node.output[0]], name=node.name)
            node.CopyFrom(stand_in)
    _clean_imports(proxy)
    return shape_inference.infer_shapes(proxy)


def _rewrite(model: onnx.ModelProto, label: str) -> None:
    inferred = _infer(model).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    ranks.update((tensor.name, len(tensor.dims)) for tensor in model.graph.initializer)
    edit = GraphEditor(model, label, ranks)
    for node in model.graph.node:
        if _is_dialect(node):
            if not node.input or not node.output:
                raise edit.invalid(node, "has no input or no output; export it again")
            REWRITES[node.op_type](edit, node)
        else:
            edit.nodes.append(node)
    nodes = list(edit.nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _clean_imports(model: onnx.ModelProto) -> None:
    """Import exactly the domains in use; a newer opset needs a newer IR version."""
    version = opset_of(model)
    foreign = sorted(foreign_domains(model))
    kept = [opset for opset in model.opset_import if opset.domain in foreign]
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", version))
    model.opset_import.extend(kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        needed = helper.find_min_ir_version_for([helper.make_opsetid("", version)], True)
    model.ir_version = max(model.ir_version, needed, 4)
