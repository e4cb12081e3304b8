"""Relax operators in NumPy, against TVM's own kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import RelaxGraph
from abc_tvm.checks.graphs.relax_ops import TABLE, four_pads, ints

op = relax.op
X = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32) * 3
K = relax.const(np.float32([0.5, -1, 2]))


def module(build: Callable[[Any], Any]) -> tvm.IRModule:
    x = relax.Var("x", relax.TensorType(X.shape, "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(build(x)))
        builder.emit_func_output(out)
    return builder.get()


def found(made: tvm.IRModule) -> np.ndarray:
    graph = RelaxGraph(made)
    last = graph.order[-1][0]
    return np.asarray(graph.evaluate([last], {graph.params[0]: X})[last])


CASES: dict[str, Callable[[Any], Any]] = {
    "add": lambda x: op.add(x, K),
    "clip": lambda x: op.clip(x, -1, 1.5),
    "round": op.round,
    "sign": op.sign,
    "trunc": op.trunc,
    "rsqrt": lambda x: op.rsqrt(op.abs(x)),
    "where": lambda x: op.where(op.greater_equal(x, K), x, K),
    "astype": lambda x: op.astype(x, "int32"),
    "permute": lambda x: op.permute_dims(x, [0, 3, 1, 2]),
    "reverse": op.permute_dims,
    "reshape": lambda x: op.reshape(x, (2, 30, 3)),
    "expand": lambda x: op.expand_dims(x, [0, -1]),
    "squeeze": lambda x: op.squeeze(op.expand_dims(x, [1]), [1]),
    "concat": lambda x: op.concat([x, x], -1),
    "take": lambda x: op.take(x, relax.const(np.array([2, 0])), axis=2),
    "sum": lambda x: op.sum(x, [1, 2], keepdims=True),
    "mean": lambda x: op.mean(x, [-1]),
    "largest": lambda x: op.max(x, [1]),
    "max_pool": lambda x: op.nn.max_pool2d(x, (2, 3), (2, 1), (1, 0, 1, 1), layout="NHWC"),
    "ceil_pool": lambda x: op.nn.max_pool2d(x, (2, 2), (2, 2), ceil_mode=True, layout="NHWC"),
    "avg_pool": lambda x: op.nn.avg_pool2d(x, (2, 2), padding=(1, 1), layout="NHWC"),
    "avg_all": lambda x: op.nn.avg_pool2d(
        x, (2, 2), padding=(1, 1), count_include_pad=True, layout="NHWC"
    ),
    "pad": lambda x: op.nn.pad(x, [0, 0, 1, 2, 0, 1, 0, 0], pad_value=2.0),
    "slice": lambda x: op.strided_slice(x, [1, 2], [4, 1], [-9, 6], [-1, 2]),
    "leaky": lambda x: op.nn.leakyrelu(x, 0.2),
    "prelu": lambda x: op.nn.prelu(x, K, axis=3),
    "flip": lambda x: op.flip(x, 1),
    "erf": op.erf,
    "place of the largest": lambda x: op.argmax(x, 3),
    "place of the smallest": lambda x: op.argmin(x, 2, keepdims=True),
    "one of two": lambda x: op.logical_xor(op.greater(x, K), op.greater(x, op.negative(K))),
    "numbers": lambda x: op.logical_and(op.isfinite(x), op.logical_not(op.isnan(x))),
    "whole quotient": lambda x: op.divide(op.astype(x, "int32"), relax.const(np.int32([2, -3, 1]))),
}


@pytest.mark.parametrize("name", CASES)
def test_as_tvm_does(name: str) -> None:
    made = module(CASES[name])
    machine = relax.VirtualMachine(tvm.compile(made, "llvm"), tvm.cpu())
    wanted = machine["main"](tvm.runtime.tensor(X)).numpy()
    ours = found(made)
    assert (ours.dtype, ours.shape) == (wanted.dtype, wanted.shape)
    # TVM's exp, erf and tanh are polynomials, and its sums go in another order.
    np.testing.assert_allclose(ours, wanted, rtol=2e-6, atol=1e-6)


def test_parts() -> None:
    made = module(lambda x: relax.TupleGetItem(op.split(x, [1, 3], axis=2), 1))
    np.testing.assert_array_equal(found(made), X[:, :, 1:3])


@pytest.mark.parametrize(
    "build",
    [
        lambda x: op.nn.pad(x, [0, 0, 1, 1, 0, 0, 0, 0], pad_mode="reflect"),
        lambda x: op.cumsum(x, 1),
        lambda x: op.nn.avg_pool2d(x, (2, 2), (2, 2), ceil_mode=True, layout="NHWC"),
    ],
)
def test_what_is_not_known(build: Callable[[Any], Any]) -> None:
    with pytest.raises(NotChecked):
        found(module(build))


def test_scalars_and_lists() -> None:
    assert ints(3) == [3, 3] and ints([3]) == [3, 3] and ints([3, 4]) == [3, 4]
    assert ints(3, 1) == [3]
    assert four_pads([1, 2]) == [1, 2, 1, 2] == four_pads([1, 2, 1, 2])
    assert four_pads(1) == [1, 1, 1, 1]


def test_names_are_relaxes() -> None:
    known = {name.removeprefix("relax.") for name in tvm.ir.Op.list_op_names()}
    assert set(TABLE) <= known
