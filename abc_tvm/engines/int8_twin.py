"""The int8 form of a float network, as onnxruntime's own tools make it."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from abc_tvm.engines.onnx_engine import errors, require_onnxruntime
from abc_tvm.errors import UnsupportedError
from abc_tvm.scratch import scratch

SAMPLES = 4


def quantise(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Static QDQ quantisation: int8 weights per channel, uint8 activations.

    Args:
        model: In standard ONNX operators, float32.
        inputs: One input of the network; calibration uses random ones of its shapes. That does
            for timing, which does not depend on the scales; it would not do for accuracy.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        UnsupportedError: Its quantisation tool refuses the model.
    """
    require_onnxruntime()
    from onnxruntime import quantization as q

    class Random(q.CalibrationDataReader):
        """A few random inputs."""

        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left: Iterator[dict[str, np.ndarray]] = iter(
                [
                    {
                        name: rng.standard_normal(array.shape).astype(array.dtype)
                        for name, array in inputs.items()
                    }
                    for _ in range(SAMPLES)
                ]
            )

        def get_next(self) -> Any:
            return next(self.left, None)

    refusals: tuple[type[Exception], ...] = (
        *errors(),
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
    )
    with scratch() as folder, _silence():
        source, prepared, out = (Path(folder, n) for n in ("in.onnx", "pre.onnx", "out.onnx"))
        source.write_bytes(model.SerializeToString())
        try:
            q.shape_inference.quant_pre_process(source, prepared, skip_symbolic_shape=True)
            q.quantize_static(
                prepared,
                out,
                Random(),
                quant_format=q.QuantFormat.QDQ,
                per_channel=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
            )
        except refusals as error:
            detail = " ".join(str(error).split())[:300]
            raise UnsupportedError(
                f"onnxruntime-int8: onnxruntime cannot quantise the model: {detail}"
            ) from error
        return onnx.load(out)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The tool advises on stdout and in the root logger; neither is for our users."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
