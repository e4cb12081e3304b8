"""Torch programs become ONNX models without a trace of this machine, or one line says why not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import helper

from abc_tvm.errors import MissingDependencyError, ModelError
from abc_tvm.frontend.torch_program import (
    drop_traces,
    export_to_onnx,
    is_program,
    program_to_onnx,
)


def test_what_is_a_program() -> None:
    """Known by its name: torch is not imported for that."""
    ours = type("ExportedProgram", (), {"__module__": "torch.export.exported_program"})()
    other = type("ExportedProgram", (), {"__module__": "torchvision"})()
    assert is_program(ours)
    assert not is_program(other) and not is_program("model.onnx") and not is_program(None)


def test_traces_are_dropped() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], doc_string="/home/me/net.py:7")
    value = helper.make_tensor_value_info("x", 1, [1], doc_string="here")
    model = helper.make_model(helper.make_graph([node], "g", [value], [], doc_string="there"))
    if hasattr(node, "metadata_props"):
        model.graph.node[0].metadata_props.add(key="stack", value="/home/me/net.py:7")
    drop_traces(model)
    assert b"/home" not in model.SerializeToString() and b"here" not in model.SerializeToString()
    assert model.graph.node[0].op_type == "Relu"


@pytest.mark.slow
def test_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, picture: Any) -> Any:
            return torch.relu(picture)

    model = program_to_onnx(torch.export.export(Net(), (torch.zeros(1, 3),)))
    assert isinstance(model, onnx.ModelProto)
    assert [value.name for value in model.graph.input] == ["picture"]
    assert __file__.encode() not in model.SerializeToString()
    assert capfd.readouterr().out == ""


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what torch's exporter raises or returns."""
    torch = pytest.importorskip("torch")

    def set_to(result: Any) -> None:
        def export(*_: Any, **__: Any) -> Any:
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(torch.onnx, "export", export)

    return set_to


def test_what_is_missing_and_what_fails(exporter: Any) -> None:
    import torch

    exporter(ModuleNotFoundError("no", name="onnxscript"))
    with pytest.raises(MissingDependencyError, match=r"needs the package onnxscript: pip install"):
        export_to_onnx(torch.nn.ReLU(), ())
    exporter(torch.onnx.OnnxExporterError("what\nand why"))
    with pytest.raises(ModelError, match=r"^ReLU: torch\.onnx\.export failed: what$"):
        export_to_onnx(torch.nn.ReLU(), ())
    exporter(None)
    with pytest.raises(ModelError, match=r"ReLU: torch\.onnx\.export returned no program"):
        export_to_onnx(torch.nn.ReLU(), ())
    exporter(SimpleNamespace(model_proto=onnx.ModelProto(ir_version=8)))
    assert export_to_onnx(torch.nn.ReLU(), ()).ir_version == 8
