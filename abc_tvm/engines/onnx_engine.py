"""onnxruntime, the reference of ``verify`` and an opponent of ``bench``."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from abc_tvm.errors import InputError, MissingDependencyError, UnsupportedError
from abc_tvm.memory import refuse_more
from abc_tvm.runtime.container import Port


class OnnxEngine:
    """An onnxruntime session on the CPU.

    Args:
        model: In standard ONNX operators.
        threads: Of one operator; operators run one after the other.
        optimise: All graph optimisations, or none: then every operator runs as it is written.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        UnsupportedError: onnxruntime refuses the model.
    """

    def __init__(self, model: onnx.ModelProto, *, threads: int = 1, optimise: bool = True) -> None:
        runtime = require_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        levels = runtime.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
        )
        self._errors = errors()
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise UnsupportedError(f"onnxruntime refuses the model: {_line(error)}") from error
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """ONNX input name to array, and output name to array."""
        try:
            return dict(zip(self._names, self._session.run(None, dict(inputs)), strict=True))
        except self._errors as error:
            raise UnsupportedError(f"onnxruntime cannot run the model: {_line(error)}") from error


def has_onnxruntime() -> bool:
    """Whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def require_onnxruntime() -> Any:
    """The module ``onnxruntime``; raises ``MissingDependencyError`` where there is none."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "onnxruntime is not installed, and this command compares with it: "
            "pip install 'abc-tvm[bench]'"
        ) from error
    return onnxruntime


def errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its exceptions share no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def random_inputs(ports: tuple[Port, ...], batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays for the inputs: standard normal floats, truths, integers from 0 to 255.

    Of integers that hold fewer, 0 to their largest.

    A symbolic dimension becomes ``batch``.

    Raises:
        InputError: They would not fit in memory.
    """
    total = sum(_bytes(port, batch) for port in ports)
    refuse_more(
        3 * total,
        f"batch {batch}: inputs of {total:,} bytes, and what is made of them,",
        InputError,
    )
    rng = np.random.default_rng(seed)
    arrays = {}
    for port in ports:
        shape = [d if isinstance(d, int) else batch for d in port.shape]
        if np.issubdtype(np.dtype(port.dtype), np.floating):
            values: np.ndarray = rng.standard_normal(shape, np.float32)
        else:
            most = 1 if port.dtype == "bool" else min(255, int(np.iinfo(port.dtype).max))
            values = rng.integers(0, most + 1, shape)
        arrays[port.name] = values.astype(port.dtype)
    return arrays


def _bytes(port: Port, batch: int) -> int:
    shape = (d if isinstance(d, int) else batch for d in port.shape)
    return math.prod(shape) * np.dtype(port.dtype).itemsize


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
