"""Import to Relax: names, silence, and every real network."""

from __future__ import annotations

import gc
import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from abc_tvm import stages
from abc_tvm.errors import CompilerFault, ModelError, UnsupportedError
from abc_tvm.frontend import import_onnx, standard_onnx
from tests.abc_tvm.frontend.one_node import hardmax, model_of, shape_of
from tests.shared_files import shared_data, shared_model

tvm = pytest.importorskip("tvm", reason="needs TVM")

NETWORKS = [
    "cifar10_cnv_w1a1",
    "cifar10_cnv_w1a2",
    "gtsrb_bnn_30x30",
    "gtsrb_bnn_48x48",
    "mnist_lfc_w1a1",
    "mnist_tfc_w1a1_qonnx",
    "mnist_tfc_w1a2_qonnx",
    "tinier_yolo_body_w1a3",
]


def test_names_are_kept_as_attributes() -> None:
    attrs = import_onnx(model_of("Relu", ["N", 3]))["main"].attrs
    assert list(attrs["input_names"]) == ["in.put"] and list(attrs["output_names"]) == ["y"]


def test_operator_without_import_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError, match=r"model: operator Det \(node 'node'\)"):
        import_onnx(model_of("Det", [2, 3, 3], out=[2]))
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("op_type", ["Hardmax", "Det"])
def test_a_refusal_writes_nothing_to_stderr(
    op_type: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """TVM complains of builders that were left behind as soon as they are collected."""
    model = hardmax() if op_type == "Hardmax" else model_of("Det", [2, 3, 3], out=[2])
    with pytest.raises(UnsupportedError):
        import_onnx(model)
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_a_pass_that_fails_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(module: tvm.IRModule) -> tvm.IRModule:
        builder = tvm.relax.BlockBuilder()
        x = tvm.relax.Var("x", tvm.relax.TensorType((2,), "float32"))
        with builder.function("main", [x]), builder.dataflow():
            builder.emit(tvm.relax.op.abs(x))
            raise KeyError("oops")

    imported = stages.import_model(model_of("Relu", ["N", 3]))
    with pytest.raises(CompilerFault, match="pass fail"):
        stages.apply(imported, [("fail", fail)], imported.module)
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_import_writes_nothing_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    import_onnx(model_of("Relu", ["N", 3]))
    assert capfd.readouterr().out == ""


def runs_in_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_real_network(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = shared_model(f"{name}.onnx")
    standard = standard_onnx(path)
    dims = [d.dim_value or 1 for d in standard.graph.input[0].type.tensor_type.shape.dim]
    module = import_onnx(path, batch=1)
    assert shape_of(module) == [str(dim) for dim in dims]
    import_onnx(path)
    assert capfd.readouterr().out == ""
    x = np.random.default_rng(0).integers(0, 8, dims).astype(np.float32)
    expected = runs_in_onnxruntime(standard, x)
    assert np.isfinite(expected).all()
    if "yolo" in name:
        return  # a minute of TVM's unscheduled loops
    executable = tvm.relax.build(module, tvm.target.Target({"kind": "llvm"}))
    machine = tvm.relax.VirtualMachine(executable, tvm.cpu())
    got = machine["main"](tvm.runtime.tensor(x)).numpy()
    # Integer sums are exact; only a Softmax and a last affine step may round.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Output shapes disagree")
@pytest.mark.parametrize("bits", ["w1a1", "w1a2"])
def test_qonnx_networks_equal_the_qonnx_package(bits: str) -> None:
    pytest.importorskip("qonnx", reason="needs the qonnx package")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    path = shared_model(f"mnist_tfc_{bits}_qonnx.onnx")
    with gzip.open(shared_data("t10k-images-idx3-ubyte.gz")) as file:
        pixels = np.frombuffer(file.read(16 + 8 * 784)[16:], np.uint8)
    images = pixels.reshape(8, 1, 1, 28, 28).astype(np.float32) / 255
    reference = ModelWrapper(str(path)).transform(InferShapes())
    standard = standard_onnx(path)
    for image in images:
        feed = {reference.graph.input[0].name: image}
        (expected,) = execute_onnx(reference, feed).values()
        # The first layer adds 784 float32 products, each library in an order of its own.
        np.testing.assert_allclose(runs_in_onnxruntime(standard, image), expected, atol=1e-5)


def test_standard_onnx_takes_a_path_or_a_model(tmp_path: Path) -> None:
    model = model_of("Relu", ["N", 3])
    onnx.save(model, tmp_path / "m.onnx")
    assert standard_onnx(tmp_path / "m.onnx") == standard_onnx(model)
    broken = model_of("Relu", ["N", 3])
    broken.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "w"))
    broken.graph.initializer[0].dims[0] = 4
    with pytest.raises(ModelError, match="model: tensor 'w'"):
        standard_onnx(broken)
