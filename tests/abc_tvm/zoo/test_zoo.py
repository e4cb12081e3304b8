"""The public functions of the zoo, on the exported models."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from abc_tvm import zoo
from abc_tvm.errors import UserError
from abc_tvm.zoo.families import FAMILIES

SMALL: dict[str, dict[str, Any]] = {
    "lenet": {"image_size": 20},
    "resnet8": {"image_size": 16},
    "resnet18": {"image_size": 32, "width": 0.25, "classes": 7},
    "resnet34": {"image_size": 33, "width": 0.25, "classes": 7},
    "resnet50": {"image_size": 32, "width": 0.125, "classes": 7},
    "bireal18": {"image_size": 32, "width": 0.25, "classes": 7},
}
PAIRS = [(1, 1), (3, 2)]
CASES = [(name, *pair) for name in SMALL for pair in PAIRS if name != "bireal18" or pair == (1, 1)]


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def count(model: onnx.ModelProto, kind: str) -> int:
    return sum(node.op_type == kind for node in model.graph.node)


def test_names_are_the_networks_of_the_zoo() -> None:
    assert set(zoo.names()) == set(SMALL) | set(FAMILIES)


@pytest.mark.parametrize(("name", "M", "N"), CASES)
def test_binarized_model_is_valid_and_declares_its_ends(name: str, M: int, N: int) -> None:
    model = zoo.build(name, M, N, **SMALL[name])
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    (image,), (logits,) = model.graph.input, model.graph.output
    size, classes = SMALL[name]["image_size"], SMALL[name].get("classes", 10)
    assert (image.name, shape(image)) == ("input", ["N", 1 if name == "lenet" else 3, size, size])
    assert (logits.name, shape(logits)) == ("output", ["N", classes])


@pytest.mark.parametrize("name", SMALL)
def test_float_twin_is_valid_and_has_no_step(name: str) -> None:
    model = zoo.build_float(name, batch=2, **SMALL[name])
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert {"Conv", "BatchNormalization", "Relu"} <= kinds
    assert kinds.isdisjoint({"Sign", "GreaterOrEqual", "Cast"})
    assert shape(model.graph.input[0])[0] == shape(model.graph.output[0])[0] == 2


@pytest.mark.parametrize(("name", "M", "N"), CASES)
def test_planes_are_balanced_on_fresh_input(name: str, M: int, N: int) -> None:
    model = zoo.build(name, M, N, **SMALL[name])
    kind = "Sign" if name == "bireal18" else "Sub"
    planes = [node.output[0] for node in model.graph.node if node.op_type == kind]
    assert planes
    for plane in planes:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(plane, TensorProto.FLOAT, None)
        )
    session = ort.InferenceSession(model.SerializeToString())
    size = SMALL[name]["image_size"]
    channels = 1 if name == "lenet" else 3
    fresh = np.random.default_rng(99).standard_normal((16, channels, size, size), np.float32)
    for plane, value in zip(planes, session.run(planes, {"input": fresh}), strict=True):
        assert set(np.unique(value)) == {-1.0, 1.0}, plane
        assert 0.05 < (value > 0).mean() < 0.95, plane


def test_default_sizes() -> None:
    for name, size, classes in [("lenet", 28, 10), ("resnet8", 32, 10), ("bireal18", 224, 1000)]:
        graph = zoo.build(name).graph
        assert shape(graph.input[0])[2:] == [size, size]
        assert shape(graph.output[0])[1:] == [classes]


def test_resnet50_has_its_convolutions() -> None:
    model = zoo.build("resnet50", 2, 3, image_size=64, width=0.125)
    binarized = 3 * (3 + 4 + 6 + 3) + 4
    assert count(model, "Conv") == 1 + binarized * 2 * 3


def test_float_resnet_parameter_counts_are_the_published_ones() -> None:
    """11.69 M, 21.80 M and 25.56 M, running statistics (2 a channel) apart."""
    for name, published in [("resnet18", 11689512), ("resnet34", 21797672), ("resnet50", 25557032)]:
        tensors = zoo.build_float(name, image_size=32).graph.initializer
        learned = [t for t in tensors if not t.name.endswith((".mean", ".var"))]
        assert sum(int(np.prod(t.dims)) for t in learned) == published


def test_each_weight_basis_is_stored_once_as_int8() -> None:
    M, N = 3, 2
    model = zoo.build("resnet8", M, N)
    layers = 3 * 2 + 2
    int8 = [t for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    assert len(int8) == layers * M
    assert all(set(np.unique(numpy_helper.to_array(t))) == {-1, 1} for t in int8)
    steps = count(model, "GreaterOrEqual")
    assert steps == 3 * 2 * N
    assert count(model, "Cast") == layers * M + steps


def test_some_gammas_are_negative() -> None:
    tensors = zoo.build("resnet8").graph.initializer
    gamma = np.concatenate([numpy_helper.to_array(t) for t in tensors if t.name.endswith("gamma")])
    assert 0 < (gamma < 0).sum() < len(gamma) / 4
    assert np.abs(gamma).min() >= 0.5
    assert np.abs(gamma).max() <= 1.5


@pytest.mark.parametrize("name", ["lenet", "resnet8", "bireal18"])
def test_the_seed_fixes_every_byte(name: str) -> None:
    first, second, other = (
        zoo.build(name, seed=seed, **SMALL[name]).SerializeToString(deterministic=True)
        for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg"}, "no network 'vgg'.*lenet, resnet8.*bireal18"),
        ({"name": "lenet", "M": 0}, "M must be an integer from 1 to 8, got 0"),
        ({"name": "lenet", "M": 9}, "M must be"),
        ({"name": "lenet", "N": 0}, "N must be an integer from 1 to 8, got 0"),
        ({"name": "lenet", "N": 2.0}, "N must be"),
        ({"name": "lenet", "N": True}, "N must be"),
        ({"name": "bireal18", "M": 2}, "bireal18 has one basis"),
        ({"name": "bireal18", "image_size": 48}, "image_size .* multiple of 32, got 48"),
        ({"name": "resnet18", "image_size": 31}, "image_size .* at least 32, got 31"),
        ({"name": "lenet", "image_size": 15}, "image_size"),
        ({"name": "lenet", "classes": 0}, "classes"),
        ({"name": "lenet", "batch": 0}, "batch"),
        ({"name": "lenet", "batch": ""}, "batch"),
        ({"name": "lenet", "width": 0.0}, "width"),
        ({"name": "lenet", "width": float("nan")}, "width"),
        ({"name": "lenet", "seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.build(**arguments)


def test_float_twin_names_bad_arguments_too() -> None:
    with pytest.raises(UserError, match="no network 'vgg'"):
        zoo.build_float("vgg")
    with pytest.raises(UserError, match="image_size"):
        zoo.build_float("resnet18", image_size=8)


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("lenet", 20, (3, 1, 20, 20)),
        ("quicknet", 32, (3, 32, 32, 3)),
        ("tcresnet8", 16, (3, 40, 16)),
        ("transformer", 5, (3, 5, 128)),
    ],
)
def test_samples_are_inputs_of_the_network(name: str, size: int, shape: tuple[int, ...]) -> None:
    drawn = zoo.sample(name, 3, image_size=size, seed=2)
    assert drawn.shape == shape and drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, zoo.sample(name, 3, image_size=size, seed=2))
    assert not np.array_equal(drawn, zoo.sample(name, 3, image_size=size, seed=3))
    with pytest.raises(UserError, match="no network 'vgg'"):
        zoo.sample("vgg", 1)
