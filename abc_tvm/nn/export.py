"""Write an ABC network as an ONNX file that the compiler recognises completely.

Plain ``torch.onnx.export`` and ``torch.export.export`` give such graphs as well, from a network in
evaluation: there the layers are ordinary operators around constant weights. What
:func:`export_onnx` adds is care: evaluation is switched on and back, the file appears whole or
not at all, and the compiler reads it before it is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from abc_tvm.errors import ModelError
from abc_tvm.file_kinds import MODEL
from abc_tvm.files import check_output, write_atomically
from abc_tvm.frontend.torch_program import export_to_onnx
from abc_tvm.nn.weight import ABCWeight
from abc_tvm.report import Report

OPSET = 18


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    example: Tensor | tuple[Tensor, ...],
    *,
    dynamic_batch: bool = False,
    input_names: tuple[str, ...] = ("input",),
    output_names: tuple[str, ...] = ("output",),
) -> Report:
    """Export ``model`` in evaluation to ``path``; its training mode stays as it was.

    Args:
        model: a network with ABC layers.
        path: the ONNX file; weights are inside it.
        example: the input, or all inputs, with the shapes that the network gets.
        dynamic_batch: leave the first dimension of every input open.
        input_names, output_names: names in the graph.

    Returns:
        What the compiler finds in the file (:func:`abc_tvm.inspect`, bits wherever possible).

    Raises:
        MissingDependencyError: onnxscript, which torch's exporter needs, is not installed.
        ModelError: the exporter fails, or an ABC layer is not recognised; no file is written.
    """
    import abc_tvm

    check_output(path, kind=MODEL)
    inputs = example if isinstance(example, tuple) else (example,)
    with evaluating(model):
        proto = _export(model, inputs, dynamic_batch, input_names, output_names)
    report = abc_tvm.inspect(proto, lowering="bitserial")
    wanted = sum(isinstance(module, ABCWeight) for module in model.modules())
    recognised = [layer for layer in report.layers if layer.M is not None and layer.N is not None]
    if len(recognised) < wanted:
        lost = [layer for layer in report.layers if layer not in recognised]
        reasons = "; ".join(f"{layer.name}: {layer.reason}" for layer in lost)
        raise ModelError(
            f"{os.fspath(path)}: {wanted - len(recognised)} of {wanted} ABC layers are not "
            f"recognised in the exported graph ({reasons})"
        )
    write_atomically(path, proto.SerializeToString(), kind=MODEL)
    return report


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation for a while; every module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _export(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    dynamic_batch: bool,
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
) -> onnx.ModelProto:
    options: dict[str, Any] = {}
    if dynamic_batch:
        batch = torch.export.Dim("batch", min=1)
        options["dynamic_shapes"] = tuple({0: batch} for _ in inputs)
    proto = export_to_onnx(
        model,
        inputs,
        opset_version=OPSET,
        input_names=input_names,
        output_names=output_names,
        **options,
    )
    onnx.checker.check_model(proto)
    return proto
