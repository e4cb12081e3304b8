"""Compile in memory, run, and compare with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tvm
from tvm import relax

from abc_tvm.compilation import Compilation
from abc_tvm.frontend import standard_onnx
from abc_tvm.relay_passes.context import LayerRow


def reference(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of onnxruntime without graph optimisations: the graph's own arithmetic."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = standard_onnx(model).SerializeToString()
    return list(onnxruntime.InferenceSession(source, options).run(None, dict(inputs)))


class Compiled:
    """A network compiled for this machine (or a target whose code it runs or emulates)."""

    def __init__(self, model: Any, lowering: str = "bitserial", target: str = "native") -> None:
        whole = Compilation(model, target, lowering=lowering)
        self.context = whole.context
        self.place = tvm.cpu() if whole.device.gpu is None else tvm.cuda()
        self.machine = relax.VirtualMachine(whole.executable(), self.place)
        self.inputs = [str(n) for n in whole.imported.module["main"].attrs["input_names"]]

    @property
    def layers(self) -> list[LayerRow]:
        return list(self.context.layers.values())

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs in the graph's order."""
        tensors = [tvm.runtime.tensor(inputs[name], self.place) for name in self.inputs]
        result = self.machine["main"](*tensors)
        return [result.numpy()] if hasattr(result, "numpy") else [r.numpy() for r in result]


def assert_equal(
    found: list[np.ndarray], wanted: list[np.ndarray], exact: bool, about: object
) -> None:
    """Bit-equal values where every sum is exact, float32 rounding elsewhere."""
    assert len(found) == len(wanted), about
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape, about
        if exact:
            np.testing.assert_array_equal(a, b, err_msg=str(about))
        else:
            # 1e-4 of the largest value: chains of up to six layers of float32 sums.
            scale = max(1.0, float(np.abs(b).max(initial=0)))
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * scale, err_msg=str(about))
