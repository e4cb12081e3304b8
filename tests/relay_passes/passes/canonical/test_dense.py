"""Dense layers become convolutions, as large as the image where they read a flattened one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm.relay_passes.rewrite import array_of
from tests.relay_passes.harness import Net, assert_same_bits, calls, passes_until

WEIGHT = np.arange(-63, 63).reshape(7, 18) / 4


def layer(through: str, symbolic: bool = False) -> onnx.ModelProto:
    """A dense layer on a flattened image ``[2, 2, 3, 3]``, in one of several orders."""
    net = Net((2, 2, 3, 3))
    x = net.conv("input", np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1))
    if through == "nhwc":
        x = net.op("Transpose", x, perm=[0, 2, 3, 1])
    if through == "mixed":
        x = net.op("Transpose", x, perm=[0, 2, 1, 3])
    x = net.op("Flatten", x, axis=1)
    return net.model(net.op("Gemm", x, net.constant(WEIGHT), transB=1), symbolic)


@pytest.mark.parametrize(
    ("through", "kernel"),
    [("nchw", (7, 3, 3, 2)), ("nhwc", (7, 3, 3, 2)), ("mixed", (7, 1, 1, 18))],
)
def test_fires(through: str, kernel: tuple[int, ...]) -> None:
    """Case 1 in both orders, 2 in another."""
    mod, _ = passes_until(layer(through), "canonicalise")
    assert not calls(mod, "matmul")
    weight = array_of(calls(mod, "nn.conv2d")[-1].args[1])
    assert weight.shape == kernel
    if through == "nchw":
        weight = weight.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(weight.reshape(7, 18), WEIGHT)


def test_it_is_known_as_a_dense_layer() -> None:
    _, context = passes_until(layer("nchw"), "recognise_weights")
    assert [(row.op, row.shape) for row in context.layers.values()] == [
        ("Conv", [2, 1, 1, 2]),
        ("Dense", [7, 3, 3, 2]),
    ]


def computed() -> onnx.ModelProto:
    net = Net((2, 6))
    return net.model(net.op("MatMul", "input", net.op("Transpose", "input", perm=[1, 0])))


def of_integers() -> onnx.ModelProto:
    net = Net((2, 3))
    whole = net.op("Cast", "input", to=onnx.TensorProto.INT32)
    weight = net.constant(np.arange(12).reshape(3, 4), np.int32)
    return net.model(net.op("Cast", net.op("MatMul", whole, weight), to=onnx.TensorProto.FLOAT))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 7, 3, 4), (2, 2, 3, 5, 4)])
def test_tokens(shape: tuple[int, ...]) -> None:
    net = Net(shape)
    model = net.model(net.op("MatMul", net.step("input"), net.constant(net.signs(4, 5))))
    mod, context = passes_until(model, "recognise_activations")
    assert len(calls(mod, "abc.bconv2d")) == 1 and not calls(mod, "matmul")
    (row,) = context.layers.values()
    assert (row.op, row.macs) == ("Dense", int(np.prod(shape[1:])) * 5)
    assert_same_bits(model)


@pytest.mark.parametrize("build", [computed, of_integers])
def test_refuses(build) -> None:
    mod, _ = passes_until(build(), "canonicalise")
    assert len(calls(mod, "matmul")) == 1 and not calls(mod, "nn.conv2d")


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("through", ["nchw", "nhwc", "mixed"])
def test_numbers(through: str, symbolic: bool) -> None:
    assert_same_bits(layer(through, symbolic), "float")
