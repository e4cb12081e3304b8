"""Graph inputs: fix the batch dimension, refuse every other dimension that is not a number."""

from __future__ import annotations

import re

import onnx

from abc_tvm.errors import ModelError, UnsupportedError

BATCH_NAME = "batch"

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def settle_inputs(model: onnx.ModelProto, batch: int | None, label: str) -> None:
    """Make every dimension of the graph inputs a number, in place, but for a symbolic batch.

    Some exporters write 0 for a batch that is not known; elsewhere it is an axis of no elements.
    TVM's importer computes with names of dimensions ("2*N", "7"): what is no identifier becomes
    one, and "2*N" is as open as "N".

    Args:
        model: Parameters are initializers, not inputs.
        batch: Number for the symbolic first dimension of the inputs, or None to leave it symbolic.
        label: What messages call the model.

    Raises:
        UnsupportedError: A symbolic dimension that is not the first, or an input without a shape.
        ModelError: ``batch`` is not positive, or differs from a batch that the model fixes.
    """
    if batch is not None and batch < 1:
        raise ModelError(f"{label}: batch {batch} is not possible; give 1 or more")
    _name_plainly(model)
    replaced: set[str] = set()
    empty = _only_types(model)
    for value in model.graph.input:
        replaced |= _settle(value, batch, label, empty)
    if batch is not None and replaced:
        # Annotations of other tensors use the same names; shape inference recomputes them.
        del model.graph.value_info[:]
        for value in model.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param in replaced:
                    dim.dim_value = batch
                elif dim.dim_param:
                    dim.Clear()


def has_open_batch(model: onnx.ModelProto) -> bool:
    """Whether an input of a settled model has a dimension that is no number."""
    return any(
        dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim
    )


def _name_plainly(model: onnx.ModelProto) -> None:
    graph = model.graph
    dims = [
        dim
        for value in (*graph.input, *graph.value_info, *graph.output)
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    ]
    names = {dim.dim_param: dim.dim_param for dim in dims}
    for name in names:
        if not _PLAIN.fullmatch(name):
            plain = "d_" + re.sub(r"[^A-Za-z0-9_]+", "_", name)
            while plain in names.values():
                plain += "_"
            names[name] = plain
    for dim in dims:
        dim.dim_param = names[dim.dim_param]


def _only_types(model: onnx.ModelProto) -> set[str]:
    """Inputs of which nothing but the type is read: the second ones of CastLike."""
    nodes = list(model.graph.node)
    read = {name for n in nodes for name in (n.input[:1] if n.op_type == "CastLike" else n.input)}
    return {value.name for value in model.graph.input} - read


def _settle(value: onnx.ValueInfoProto, batch: int | None, label: str, empty: set[str]) -> set[str]:
    what = f"{label}: input {value.name!r}"
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise UnsupportedError(f"{what} has no tensor shape; export the model with fixed shapes")
    replaced: set[str] = set()
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.dim_value > 0 or (dim.HasField("dim_value") and (axis > 0 or value.name in empty)):
            if axis == 0 and batch is not None and dim.dim_value != batch:
                raise ModelError(
                    f"{what} has a fixed first dimension of {dim.dim_value}, so batch {batch} is "
                    "not possible; export the model with a dynamic batch"
                )
            continue
        if axis > 0:
            name = repr(dim.dim_param) if dim.dim_param else "unknown"
            raise UnsupportedError(
                f"{what}: dimension {axis} is symbolic ({name}); only the batch may be, so export "
                "the model with fixed channels, height and width"
            )
        replaced.add(dim.dim_param)
        if batch is not None:
            dim.dim_value = batch
        elif not dim.dim_param:
            dim.dim_param = BATCH_NAME
    return replaced - {""}
