"""A torch ``ExportedProgram`` as an ONNX model, by torch's own exporter.

TVM can import such a program directly. Going through ONNX instead gives it everything that an
ONNX file gets: the recogniser's normal form, names, and onnxruntime as the judge in ``verify``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import onnx

from abc_tvm.errors import MissingDependencyError, ModelError


def is_program(model: object) -> bool:
    """Whether it is a ``torch.export.ExportedProgram``; does not import torch."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "torch" and kind.__name__ == "ExportedProgram"


def program_to_onnx(program: Any) -> onnx.ModelProto:
    """Convert; inputs keep the names of the program's arguments.

    Raises:
        MissingDependencyError: onnxscript is not installed.
        ModelError: torch's exporter fails.
    """
    return export_to_onnx(program, ())


def export_to_onnx(model: Any, inputs: tuple[Any, ...], **options: Any) -> onnx.ModelProto:
    """``torch.onnx.export(model, inputs, dynamo=True, **options)`` in silence, in memory.

    Raises:
        MissingDependencyError: onnxscript is not installed.
        ModelError: torch's exporter fails.
    """
    import torch

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of what it leaves out
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            done = torch.onnx.export(model, inputs, dynamo=True, verbose=False, **options)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"torch.onnx needs the package {error.name}: pip install 'abc-tvm[torch]'"
        ) from error
    except torch.onnx.OnnxExporterError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{type(model).__name__}: torch.onnx.export failed: {reason}") from error
    finally:
        logger.setLevel(level)
    if done is None:
        raise ModelError(f"{type(model).__name__}: torch.onnx.export returned no program")
    proto: onnx.ModelProto = done.model_proto
    drop_traces(proto)
    return proto


def drop_traces(model: onnx.ModelProto) -> None:
    """Remove, in place, where torch found each node: stack traces with the machine's paths."""
    graph = model.graph
    places = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info]
    for place in (*places, *graph.initializer):
        place.doc_string = ""
        if hasattr(place, "metadata_props"):  # for all of them from ONNX 1.17 on
            del place.metadata_props[:]
