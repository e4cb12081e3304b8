"""Import to Relax: batch, refusals, silence, and every real network."""

from __future__ import annotations

import gc
import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import stages
from abc_tvm.errors import CompilerFault, ModelError, UnsupportedError
from abc_tvm.frontend import import_onnx, standard_onnx
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


Dims = list[int | str | None]


def model_of(op_type: str, dims: Dims, out: Dims | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op_type, ["in.put"], ["y"], name="node")],
        "g",
        [helper.make_tensor_value_info("in.put", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out or dims)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def shape_of(module: tvm.IRModule) -> list[str]:
    return [str(getattr(dim, "value", dim)) for dim in module["main"].params[0].ty.shape]


def test_batch() -> None:
    model = model_of("Relu", ["N", 3])
    before = model.SerializeToString()
    assert shape_of(import_onnx(model)) == ["N", "3"]
    assert shape_of(import_onnx(model, batch=4)) == ["4", "3"]
    assert model.SerializeToString() == before
    assert shape_of(import_onnx(model_of("Relu", [None, 3]))) == ["batch", "3"]
    assert shape_of(import_onnx(model_of("Relu", [2, 3]), batch=2)) == ["2", "3"]


@pytest.mark.parametrize("name", ["N*2", "7", "-1", "N-1", "2//N", "a b", "?", "é"])
def test_a_name_of_a_dimension_is_not_computed_with(name: str) -> None:
    (batch, channels) = shape_of(import_onnx(model_of("Relu", [name, 3])))
    assert batch.isidentifier() and channels == "3"


def test_names_of_dimensions_stay_different() -> None:
    model = model_of("Relu", ["a-b", 3])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["a+b", 3]))
    model.graph.node.append(helper.make_node("Relu", ["z"], ["w"]))
    model.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, ["a+b", 3]))
    first, second = (str(p.ty.shape[0]) for p in import_onnx(model)["main"].params)
    assert first != second and first.isidentifier() and second.isidentifier()


def test_batch_that_contradicts_the_model() -> None:
    with pytest.raises(ModelError, match=r"'in\.put'.*of 2.*batch 4"):
        import_onnx(model_of("Relu", [2, 3]), batch=4)
    with pytest.raises(ModelError, match="batch 0"):
        import_onnx(model_of("Relu", ["N", 3]), batch=0)


@pytest.mark.parametrize("dims", [["N", "C", 4, 4], ["N", 3, None, 4], [1, 3, 4, "W"]])
def test_symbolic_channels_or_space_are_refused(dims: Dims) -> None:
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(model_of("Relu", dims), batch=1)
    axis = next(i for i in (1, 2, 3) if not isinstance(dims[i], int))
    assert "'in.put'" in str(caught.value) and f"dimension {axis}" in str(caught.value)
    assert "export" in str(caught.value) and "\n" not in str(caught.value)


def test_names_are_kept_as_attributes() -> None:
    attrs = import_onnx(model_of("Relu", ["N", 3]))["main"].attrs
    assert list(attrs["input_names"]) == ["in.put"] and list(attrs["output_names"]) == ["y"]


def test_operator_without_import_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError, match=r"model: operator Det \(node 'node'\)"):
        import_onnx(model_of("Det", [2, 3, 3], out=[2]))
    assert capfd.readouterr().out == ""


def test_failure_inside_the_importer_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    model = model_of("Pad", ["N", 3, 4, 4], out=["N", "a", "b", "c"])
    model.graph.input.append(helper.make_tensor_value_info("pads", TensorProto.INT64, [8]))
    model.graph.node[0].input.append("pads")
    with pytest.raises(UnsupportedError, match="Pad") as caught:
        import_onnx(model)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


def test_what_the_importer_does_not_take_is_told_in_words() -> None:
    """Not: TypeError: Mismatched type on argument #3 when calling: `relax.op.one_hot(…`."""
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(hardmax())
    assert str(caught.value) == (
        "model: node 'node': operator Hardmax on float[N, 3] with axis=0 is not supported; compile "
        "with a fixed batch (--batch), or replace it by other operators"
    )
    assert caught.value.__cause__ is not None
    import_onnx(hardmax(), batch=4)


def hardmax() -> onnx.ModelProto:
    model = model_of("Hardmax", ["N", 3])
    model.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    return model


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


def test_a_form_that_the_importer_refuses_keeps_its_reason() -> None:
    model = model_of("DequantizeLinear", [1, 4, 3])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    scale = numpy_helper.from_array(np.ones((1, 2, 3), np.float32), "scale")
    model.graph.initializer.append(scale)
    node = model.graph.node[0]
    node.input.append("scale")
    node.attribute.extend(
        [helper.make_attribute("axis", 1), helper.make_attribute("block_size", 2)]
    )
    model.opset_import[0].version = 21
    model.ir_version = 10
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(model)
    line = str(caught.value)
    assert "on uint8[1, 4, 3], stored float[1, 2, 3] with axis=1, block_size=2" in line
    assert "(DequantizeLinear blocked quantization is not supported yet)" in line
    assert "Error" not in line


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
