"""Read an ONNX file by path and check it, with one line for whatever is wrong with it.

The importer downstream trusts what it is given: it raises bare ``KeyError`` on many damaged
models and takes some that ONNX itself rejects. So nothing leaves this module unchecked.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import checker, numpy_helper, shape_inference

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.files import read_regular
from abc_tvm.frontend.ceil_windows import has_ceil_mode
from abc_tvm.frontend.refusals.external_data import is_external, load_external_data, model_tensors

MIN_OPSET = 9
STANDARD_DOMAINS = ("", "ai.onnx")

MOST_BYTES = (2 << 30) - 1
"""Protobuf reads no larger message; more data lies in files beside the model."""


def load_onnx(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read and check the ONNX model at ``path``; external data is read into the model.

    Models with operators of other domains (QONNX, FINN) get the structural check here and the
    full one, with strict shape inference, after their operators are rewritten.

    Args:
        path: A binary ONNX file. External data must lie in its folder or below.

    Raises:
        ModelError: The file is missing, damaged, not ONNX, or an invalid model.
        UnsupportedError: Valid, but its opset or a stored form is not supported.
    """
    file = Path(path)
    data = _read(file)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{file}: not an ONNX model, or damaged ({one_line(error)}); export it again"
        ) from error
    _check_outline(model, str(file))
    _check_names(model, str(file))
    load_external_data(model, file)
    check_onnx(model, str(file))
    return model


def check_onnx(model: onnx.ModelProto, label: str) -> None:
    """Check a model whose tensors are all in memory.

    Args:
        model: Not changed.
        label: What messages call it: a file name, or "model".

    Raises:
        ModelError: Invalid; the message starts with ``label``.
    """
    try:
        _check_outline(model, label)
        _check_names(model, label)
        _check_opset(model, label)
        _check_tensors(model, label)
        foreign = foreign_domains(model)
        if foreign:
            # Dialect files often lack the opset import: that alone is no damage.
            known = {opset.domain for opset in model.opset_import}
            model = copy.deepcopy(model)
            for domain in sorted(foreign - known):
                model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
        full = not foreign and not has_ceil_mode(model)
        checker.check_model(model, full_check=full)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ModelError(f"{label}: not a valid ONNX model: {one_line(error)}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{label}: damaged: a name in it is not valid text") from error
    except (RuntimeError, ValueError, TypeError, EncodeError) as error:
        raise ModelError(f"{label}: the ONNX checker failed: {one_line(error)}") from error


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in the attributes of ``node``: bodies of If, Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of ``graph`` and of its subgraphs."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from all_nodes(subgraph)


def foreign_domains(model: onnx.ModelProto) -> set[str]:
    """Domains of the operators that are neither standard ONNX nor local functions."""
    local = {function.domain for function in model.functions}
    used = {node.domain for node in all_nodes(model.graph)}
    return used - local - set(STANDARD_DOMAINS)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operator set that ``model`` imports, 0 if none."""
    versions = [o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS]
    return max(versions, default=0)


def _read(file: Path) -> bytes:
    data = read_regular(file, ModelError, MOST_BYTES)
    if not data:
        raise ModelError(f"{file}: the file is empty; copy or export it again")
    return data


def _check_outline(model: onnx.ModelProto, label: str) -> None:
    if not model.HasField("graph"):
        raise ModelError(f"{label}: not an ONNX model: it holds no graph")
    if not model.graph.output:
        raise ModelError(f"{label}: the graph has no outputs; export the model again")
    if not model.graph.node:
        raise ModelError(f"{label}: the graph has no operators; there is nothing to compile")


def _check_names(model: onnx.ModelProto, label: str) -> None:
    """Refuse names that are not valid text; protobuf returns those as ``bytes``."""
    graphs = [model.graph]
    names: list[object] = [opset.domain for opset in model.opset_import]
    bodies = [node for function in model.functions for node in function.node]
    for node in (*all_nodes(model.graph), *bodies):
        names += (node.name, node.op_type, node.domain, *node.input, *node.output)
        names += (attribute.name for attribute in node.attribute)
        graphs.extend(subgraphs(node))
    for graph in graphs:
        names.append(graph.name)
        names += (tensor.name for tensor in graph.initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            names.append(value.name)
            names += (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for name in names:
        if isinstance(name, bytes):
            raise ModelError(f"{label}: damaged: the name {name!r} is not valid text")


def _check_opset(model: onnx.ModelProto, label: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    if sum(o.domain in STANDARD_DOMAINS for o in model.opset_import) > 1:
        raise ModelError(f"{label}: imports the standard operator set twice; export it again")
    version = opset_of(model)
    if version == 0:
        raise ModelError(f"{label}: imports no version of the standard operator set (ai.onnx)")
    if version < MIN_OPSET and not all(
        onnx.defs.has(node.op_type, version, "")
        for node in all_nodes(model.graph)
        if node.domain in STANDARD_DOMAINS
    ):
        raise UnsupportedError(too_old(label, version))
    if version > newest:
        raise UnsupportedError(
            f"{label}: opset {version} is newer than {newest}, the newest that the installed "
            f"onnx {onnx.__version__} knows; upgrade onnx or export with an older opset"
        )


def too_old(label: str, version: int) -> str:
    """What is said of a model whose opset cannot be raised to the oldest supported."""
    return (
        f"{label}: opset {version} is older than {MIN_OPSET}, the oldest supported; convert "
        "it with onnx.version_converter.convert_version or export again"
    )


def _check_tensors(model: onnx.ModelProto, label: str) -> None:
    if model.graph.sparse_initializer:
        raise UnsupportedError(f"{label}: sparse initializers are not supported; store them dense")
    for tensor in model_tensors(model):
        if is_external(tensor):
            raise ModelError(
                f"{label}: tensor {tensor.name!r} is external data; pass the model by its path"
            )
        if tensor.data_type == onnx.TensorProto.STRING:
            continue
        try:
            numpy_helper.to_array(tensor)
        except KeyError as error:
            raise ModelError(
                f"{label}: tensor {tensor.name!r} is of element type {tensor.data_type}, which "
                "this version of onnx does not know; upgrade onnx, or export the model again"
            ) from error
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            raise ModelError(
                f"{label}: tensor {tensor.name!r} is damaged: {one_line(error)}"
            ) from error


def one_line(error: BaseException) -> str:
    """The error's text on one line, cut to a length that fits a terminal."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
