"""A violation of each contract of canonical graphs, beside a graph that keeps it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.contracts.canonical import (
    constants_are_folded,
    convolutions_are_nhwc,
    dense_layers_are_convolutions,
    no_transpose_between_convolutions,
)
from abc_tvm.relay_passes.rewrite import const
from tests.relay_passes.relax_graph import convolution, image, module, tensor

WEIGHT = np.ones((4, 1, 1, 4), np.float32)
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def one(call: Callable[[relax.Var], relax.Expr], x: relax.Var | None = None) -> tvm.IRModule:
    x = image("x", 4) if x is None else x
    return module([x], lambda bind: bind(call(x), "conv"))


def of_two_inputs(layout: str) -> tvm.IRModule:
    x, w = image("x", 4), tensor("w", 4, 4, 1, 1) if layout == "NCHW" else image("w", 4, 1)
    kernel = "OIHW" if layout == "NCHW" else "OHWI"
    if layout == "NCHW":
        x = tensor("x", 1, 4, 5, 5)
    call = relax.op.nn.conv2d(x, w, data_layout=layout, kernel_layout=kernel)
    return module([x, w], lambda bind: bind(call, "conv"))


def test_convolutions_are_nhwc() -> None:
    assert not list(convolutions_are_nhwc(one(lambda x: convolution(x, WEIGHT))))
    assert not list(convolutions_are_nhwc(of_two_inputs("NCHW")))
    planes = tensor("x", 1, 4, 5, 5)
    turned = one(lambda x: convolution(x, np.ones((4, 4, 1, 1), np.float32), "NCHW"), planes)
    (fault,) = convolutions_are_nhwc(turned)
    assert fault == "conv of constant weights is ('NCHW', 'OIHW')"
    (fault,) = convolutions_are_nhwc(of_two_inputs("NHWC"))
    assert "its weights are no constant" in fault


@pytest.mark.parametrize("name", ["alone", "relu", "pool"])
def test_no_transpose_between_convolutions(name: str) -> None:
    """Through element-wise operators and pools on both sides; at the ends it may lie."""
    x = image("x", 4)

    def between(var: relax.Var) -> relax.Expr:
        if name == "relu":
            return relax.op.nn.relu(var)
        if name == "pool":
            return relax.op.nn.max_pool2d(var, (1, 1), layout="NHWC")
        return var

    def body(bind: Callable[..., relax.Var], turned: bool) -> relax.Expr:
        y = bind(relax.op.permute_dims(x, (0, 2, 1, 3)))
        y = bind(between(bind(convolution(y, WEIGHT), "first")))
        if turned:
            y = bind(relax.op.permute_dims(y, (0, 2, 1, 3)))
        y = bind(convolution(bind(between(y)), WEIGHT), "second")
        return bind(relax.op.permute_dims(y, TO_NCHW))

    assert not list(no_transpose_between_convolutions(module([x], lambda b: body(b, False))))
    (fault,) = no_transpose_between_convolutions(module([x], lambda b: body(b, True)))
    assert fault == "between the convolution second and another there is a permute_dims"


def test_dense_layers_are_convolutions() -> None:
    rows, weight = tensor("x", 1, 4), np.ones((4, 3), np.float32)
    (fault,) = dense_layers_are_convolutions(one(lambda x: relax.op.matmul(x, const(weight)), rows))
    assert fault == "conv is a product of matrices with constant weights"
    other = tensor("w", 4, 3)
    mod = module([rows, other], lambda bind: bind(relax.op.matmul(rows, other)))
    assert not list(dense_layers_are_convolutions(mod))


def test_constants_are_folded() -> None:
    two = const(np.float32(2))
    (fault,) = constants_are_folded(one(lambda x: relax.op.add(two, two)))
    assert fault == "conv = add reads constants alone"
    assert not list(constants_are_folded(one(lambda x: relax.op.add(x, two))))
