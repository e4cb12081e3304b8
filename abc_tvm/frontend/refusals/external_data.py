"""External tensor data, read only from the folder that holds the model.

An ONNX file may keep large tensors in files beside it. The file says which, so a hostile or
careless model could name any path of the machine. Locations are therefore taken only when they
are relative, have no ``..``, and still lie in the model's folder after symlinks are resolved.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import onnx
from onnx import TensorProto, helper

from abc_tvm.errors import ModelError
from abc_tvm.files import open_regular


def tensors_of(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor that ``graph`` stores: initializers, attributes, subgraphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        yield from tensors_of_node(node)


def tensors_of_node(node: onnx.NodeProto) -> Iterator[TensorProto]:
    """Every tensor in the attributes of ``node``, with those of its subgraphs."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from tensors_of(attribute.g)
        for graph in attribute.graphs:
            yield from tensors_of(graph)


def model_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of ``model``, local functions included."""
    yield from tensors_of(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from tensors_of_node(node)


def is_external(tensor: TensorProto) -> bool:
    """Whether the bytes of ``tensor`` lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Read external tensors into ``model`` in place.

    Args:
        model: Parsed model.
        path: The model's own file; data files must lie in its folder or below.

    Raises:
        ModelError: A location outside the folder, a missing or short file, or bad numbers.
    """
    for tensor in model_tensors(model):
        if is_external(tensor):
            _load_tensor(tensor, path)


def _load_tensor(tensor: TensorProto, path: Path) -> None:
    what = f"{path}: tensor {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if any(isinstance(text, bytes) for pair in entries.items() for text in pair):
        raise ModelError(f"{what} has an external data entry that is not valid text")
    file = _confined(entries.get("location", ""), path, what)
    try:
        item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{what} has an unknown element type {tensor.data_type}") from None
    bits: dict[int, int] = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4}
    count = math.prod(tensor.dims)
    if count < 0:
        raise ModelError(f"{what} has a negative dimension in {list(tensor.dims)}")
    need = -(-count * bits.get(tensor.data_type, 8 * item) // 8)
    offset = _number(entries.get("offset", "0"), what, "offset")
    length = _number(entries.get("length", str(need)), what, "length")
    if length != need:
        raise ModelError(
            f"{what} needs {need} bytes for shape {list(tensor.dims)} but its external data "
            f"entry gives {length}; export the model again"
        )
    try:
        with open_regular(file, ModelError) as handle:
            size = os.fstat(handle.fileno()).st_size
            if offset + length > size:
                raise ModelError(
                    f"{what} needs bytes {offset} to {offset + length} of {file.name}, which has "
                    f"only {size}; the file is cut short, copy it again"
                )
            handle.seek(offset)
            data = handle.read(length)
    except OSError as error:
        raise ModelError(f"{what}: cannot read external data {file}: {error.strerror}") from error
    except MemoryError as error:
        raise ModelError(f"{what}: {length:,} bytes do not fit in memory") from error
    tensor.raw_data = data
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _confined(location: str, path: Path, what: str) -> Path:
    """The data file's resolved path, or ModelError if it is not inside the model's folder."""
    if not location or "\0" in location:
        raise ModelError(f"{what} has external data without a usable location")
    windows = PureWindowsPath(location)
    if Path(location).is_absolute() or windows.drive or windows.root:
        raise ModelError(
            f"{what} names external data by the absolute path {location!r}; only files in the "
            "model's own folder are read"
        )
    if ".." in windows.parts:
        raise ModelError(
            f"{what} names external data {location!r} outside the model's folder ('..'); put "
            "the file beside the model"
        )
    folder = Path(os.path.realpath(path.parent))
    file = Path(os.path.realpath(folder / location))
    if not file.is_relative_to(folder):
        raise ModelError(
            f"{what} names external data {location!r}, a link that leaves the model's folder; "
            "put the file itself beside the model"
        )
    if not file.exists():
        raise ModelError(f"{what}: external data file {location!r} is missing beside the model")
    if not file.is_file():
        raise ModelError(f"{what}: external data {location!r} is not a regular file")
    return file


def _number(text: str, what: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{what} has external data with a bad {field} {text!r}")
    return int(text)
