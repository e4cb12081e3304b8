"""One operator at a time, compiled in this process and compared with onnxruntime.

Many configurations make one model of many outputs: it is compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from abc_tvm import stages
from abc_tvm.compilation import Compilation, device_of
from abc_tvm.runtime.session import Session

RELATIVE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-5}
"""Of the largest value. float64 is judged by float32 arithmetic where onnxruntime has no other."""


@dataclass
class Case:
    """One node; ``feeds`` come at run time, ``stored`` are initializers.

    ``inputs`` gives their order, by default as they stand; "" is one that is left out.
    """

    op_type: str
    feeds: dict[str, np.ndarray]
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    outputs: int = 1

    def names(self) -> list[str]:
        return list(self.inputs) or [*self.feeds, *self.stored]


def agree(cases: Sequence[Case], opset: int, *, open_batch: bool = False) -> None:
    """Assert that every case gives onnxruntime's shapes, types and values."""
    model, feeds = model_of(cases, opset, open_batch=open_batch)
    wanted = run_onnxruntime(model, feeds)
    found = compiled(model).run(feeds)
    for (name, value), case in zip(wanted.items(), _owners(cases), strict=True):
        what = f"{case.op_type}-{opset} {case.attrs} on {[a.shape for a in case.feeds.values()]}"
        same(found[name], value, what)


def same(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert found.dtype == wanted.dtype, what
    assert found.shape == wanted.shape, what
    if wanted.dtype.kind in "iub":
        np.testing.assert_array_equal(found, wanted, err_msg=what)
        return
    finite = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-3)
    atol = RELATIVE[str(wanted.dtype)] * float(finite)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol, err_msg=what)


def model_of(
    cases: Sequence[Case], opset: int, *, open_batch: bool = False
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of all cases, and its inputs. Output shapes are declared by rank alone."""
    nodes, inputs, stored, outputs = [], [], [], []
    feeds: dict[str, np.ndarray] = {}
    for number, case in enumerate(cases):
        for key, array in case.feeds.items():
            shape = ["N", *array.shape[1:]] if open_batch and array.ndim else array.shape
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            inputs.append(helper.make_tensor_value_info(f"{key}{number}", kind, shape))
            feeds[f"{key}{number}"] = array
        stored += [numpy_helper.from_array(a, f"{k}{number}") for k, a in case.stored.items()]
        outs = [f"y{number}_{n}" for n in range(case.outputs)]
        outputs += [helper.make_empty_tensor_value_info(name) for name in outs]
        names = [f"{name}{number}" if name else "" for name in case.names()]
        name = f"node{number}"
        nodes.append(helper.make_node(case.op_type, names, outs, name=name, **case.attrs))
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10 if opset > 20 else 8
    wanted = run_onnxruntime(model, feeds)
    for value in graph.output:
        array = wanted[value.name]
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        dims = [f"{value.name}_{axis}" for axis in range(array.ndim)]
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, dims))
    del model.graph.output[:]
    model.graph.output.extend(graph.output)
    return model, feeds


def run_onnxruntime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def compiled(model: onnx.ModelProto) -> Session:
    """A session on code that was compiled in this process, without a linker."""
    import tvm
    from tvm import relax

    whole = Compilation(model, _device())
    machine = relax.VirtualMachine(whole.executable(), tvm.cpu())
    return Session(whole.info(), machine, 1, tvm.cpu())


def refusal(case: Case, opset: int, ranks: Sequence[int] = (4,)) -> str:
    """The line that a case is refused with."""
    import pytest

    from abc_tvm.errors import UserError

    model, _ = declared(case, opset, ranks)
    with pytest.raises(UserError) as caught:
        stages.import_model(model)
    text = str(caught.value)
    assert "\n" not in text
    return text


def declared(
    case: Case, opset: int, ranks: Sequence[int]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for k, a in case.feeds.items()
    ]
    kind = inputs[0].type.tensor_type.elem_type
    outs = [f"y{n}" for n in range(case.outputs)]
    outputs = [
        helper.make_tensor_value_info(name, kind, [f"{name}_{a}" for a in range(rank)])
        for name, rank in zip(outs, ranks, strict=False)
    ]
    stored = [numpy_helper.from_array(a, k) for k, a in case.stored.items()]
    node = helper.make_node(case.op_type, case.names(), outs, name="node", **case.attrs)
    graph = helper.make_graph([node], "g", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10 if opset > 20 else 8
    return model, dict(case.feeds)


def _owners(cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases for _ in range(case.outputs)]


@cache
def _device() -> Any:
    return device_of("native")
