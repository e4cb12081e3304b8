"""The batch is fixed or stays open under a plain name; every other open dimension is refused."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend import import_onnx
from abc_tvm.frontend.batch import has_open_batch, settle_inputs
from tests.abc_tvm.frontend.one_node import Dims, model_of, shape_of


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


def test_an_open_batch() -> None:
    model = model_of("Relu", ["N", 3])
    assert has_open_batch(model)
    settle_inputs(model, 4, "m")
    assert not has_open_batch(model)
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [4, 3]


def test_a_batch_that_is_written_as_zero_is_open() -> None:
    model = model_of("Relu", [0, 3])
    settle_inputs(model, None, "m")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_an_input_whose_type_alone_is_read_may_be_empty() -> None:
    model = model_of("Relu", [2, 3])
    model.graph.input.append(helper.make_tensor_value_info("t", TensorProto.FLOAT16, [0]))
    model.graph.node.append(helper.make_node("CastLike", ["y", "t"], ["z"]))
    settle_inputs(model, None, "m.onnx")
    assert model.graph.input[1].type.tensor_type.shape.dim[0].dim_value == 0


def test_an_input_without_a_shape() -> None:
    model = model_of("Relu", [2, 3])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match=r"m: input 'in\.put' has no tensor shape; export"):
        settle_inputs(model, None, "m")
