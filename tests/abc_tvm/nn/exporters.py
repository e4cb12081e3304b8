"""Every way from a torch network to something that the compiler takes."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import onnx
import torch
from torch import Tensor, nn


def dynamo(model: nn.Module, x: Tensor) -> onnx.ModelProto:
    return _quietly(lambda: torch.onnx.export(model, (x,), dynamo=True, verbose=False)).model_proto


def dynamo_unoptimised(model: nn.Module, x: Tensor) -> onnx.ModelProto:
    options: dict[str, Any] = {"dynamo": True, "verbose": False, "optimize": False}
    return _quietly(lambda: torch.onnx.export(model, (x,), **options)).model_proto


def torchscript(model: nn.Module, x: Tensor) -> onnx.ModelProto:
    stream = io.BytesIO()
    options: dict[str, Any] = {"dynamo": False, "opset_version": 17}
    _quietly(lambda: torch.onnx.export(model, (x,), stream, **options))
    return onnx.load_from_string(stream.getvalue())


def program(model: nn.Module, x: Tensor) -> Any:
    return _quietly(lambda: torch.export.export(model, (x,)))


EXPORTERS = {
    "dynamo": dynamo,
    "dynamo_unoptimised": dynamo_unoptimised,
    "torchscript": torchscript,
    "program": program,
}


def _quietly(call: Callable[[], Any]) -> Any:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    finally:
        logger.setLevel(level)
