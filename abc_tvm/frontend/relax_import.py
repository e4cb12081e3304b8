"""From an ONNX model, by path or in memory, to a Relax module."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from typing import TYPE_CHECKING

import onnx
from onnx import checker, shape_inference

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend.batch import has_open_batch, settle_inputs
from abc_tvm.frontend.dialects import to_standard
from abc_tvm.frontend.dialects.old_opset import raise_old_opset
from abc_tvm.frontend.inferred import infer_dims
from abc_tvm.frontend.light import light
from abc_tvm.frontend.onnx_file import check_onnx, foreign_domains, load_onnx, one_line
from abc_tvm.frontend.refusals.channels import check_channels
from abc_tvm.frontend.refusals.element_types import check_types
from abc_tvm.frontend.refusals.import_faults import why_not
from abc_tvm.frontend.refusals.run_time_shapes import check_known_shapes, check_run_time_shapes
from abc_tvm.frontend.refusals.sizes import check_sizes
from abc_tvm.frontend.simplify import simplify
from abc_tvm.open_builders import close_builders

if TYPE_CHECKING:
    import tvm

ModelSource = onnx.ModelProto | str | os.PathLike[str]

# The importer lets whatever its converters hit escape; TVM's own errors are RuntimeErrors.
_IMPORTER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)


def standard_onnx(source: ModelSource) -> onnx.ModelProto:
    """The network in standard ONNX operators only, checked: what onnxruntime can run.

    Args:
        source: A path, or a model with all tensors in memory (not changed).

    Raises:
        ModelError: The file or the model is invalid.
        UnsupportedError: Valid, but with operators that have no standard form.
    """
    label = _label(source)
    if isinstance(source, onnx.ModelProto):
        check_onnx(source, label)
        model = source
    else:
        model = load_onnx(source)
    standard = to_standard(model, label=label)
    if model.functions or foreign_domains(model):  # else no operator is another one now
        check_onnx(standard, label)
    return raise_old_opset(standard, label)


def import_onnx(source: ModelSource, *, batch: int | None = None) -> tvm.IRModule:
    """Import an ONNX network as a Relax module with its parameters embedded.

    The function ``main`` takes the graph's inputs in order, as float or integer tensors of the
    graph's shapes and dtypes, and returns its output, or a tuple of several. Its attributes
    ``input_names`` and ``output_names`` hold the names in the ONNX graph, since TVM renames
    those that are not identifiers.

    Args:
        source: A path, or a model with all tensors in memory (not changed).
        batch: Fixes a symbolic batch dimension (the first of each input); None leaves it.

    Raises:
        ModelError: The file or the model is invalid, or ``batch`` contradicts it.
        UnsupportedError: Valid, but outside what can be imported; the message says what.
    """
    return to_relax(simple_onnx(source, batch=batch), _label(source))


def simple_onnx(
    source: ModelSource, *, batch: int | None = None, one_image: bool = False
) -> onnx.ModelProto:
    """What :func:`import_onnx` gives to the importer: checked, standard and simplified.

    Its arguments and errors; ``one_image`` makes a batch that is left open 1.
    """
    standard, label = standard_onnx(source), _label(source)
    settle_inputs(standard, batch, label)
    if one_image and batch is None and has_open_batch(standard):
        settle_inputs(standard, 1, label)
    try:
        simple = simplify(standard, label)
        _check_shapes(simple, label)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ModelError(
            f"{label}: invalid with the shapes of its inputs: {one_line(error)}"
        ) from error
    check_types(simple, label)
    check_run_time_shapes(simple, label)
    dims = infer_dims(simple)
    check_sizes(simple, dims, label)
    check_channels(simple, dims, label)
    return simple


def _check_shapes(model: onnx.ModelProto, label: str) -> None:
    try:
        checker.check_model(light(model), full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError):
        raise
    except (RuntimeError, ValueError, TypeError) as error:  # of an element type that is none
        raise ModelError(f"{label}: the ONNX checker failed: {one_line(error)}") from error


def to_relax(model: onnx.ModelProto, label: str) -> tvm.IRModule:
    """The Relax module of a model of :func:`simple_onnx`; ``label`` is what messages call it.

    Raises:
        UnsupportedError: An operator has no import, in this form or at all.
    """
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            module = from_onnx(model, shape_dict=_empty_inputs(model))
    except tvm.error.OpNotImplemented as error:
        close_builders(error)
        missing = str(error).rpartition(":")[2].strip()
        types = missing.split(", ")
        nodes = [n.name or n.output[0] for n in model.graph.node if n.op_type in types]
        at = f" (node {nodes[0]!r})" if nodes else ""
        raise UnsupportedError(
            f"{label}: operator {missing}{at} has no Relax import; replace it and export again"
        ) from error
    except _IMPORTER_ERRORS as error:
        close_builders(error)
        raise UnsupportedError(f"{label}: {why_not(error, model)}") from error
    check_known_shapes(module, label)
    io_names = {
        "input_names": [value.name for value in model.graph.input],
        "output_names": [value.name for value in model.graph.output],
    }
    module["main"] = module["main"].with_attrs(io_names)
    return module


def _empty_inputs(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes of inputs without elements: the importer takes an extent of 0 for an unknown one."""
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if not any(d.dim_param for d in value.type.tensor_type.shape.dim)
    }
    return {name: shape for name, shape in shapes.items() if 0 in shape}


def _label(source: ModelSource) -> str:
    return "model" if isinstance(source, onnx.ModelProto) else os.fspath(source)
