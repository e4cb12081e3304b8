"""Tensors in another layout than the one that they lie in: the same numbers, each made once."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.layout import Kind, Placed, graph_shape
from abc_tvm.relay_passes.passes.canonical.conversions import Conversions
from tests.relay_passes.relax_graph import tensor

NHWC = (2, 3, 4, 5)
GRAPH: dict[Kind, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "plain": (NHWC, NHWC),
    "nhwc": (NHWC, (2, 5, 3, 4)),
    "row": ((2, 1, 4, 5), (2, 5, 4)),
    "dense": ((2, 1, 1, 5), (2, 5)),
    "flat_chw": (NHWC, (2, 60)),
    "flat_hwc": (NHWC, (2, 60)),
}
"""What is there, and the graph's own shape."""


def converted(kind: Kind, to: str, x: np.ndarray) -> np.ndarray:
    builder = relax.BlockBuilder()
    var = tensor("x", *x.shape)
    with builder.function("main", [var]):
        with builder.dataflow():
            made = getattr(Conversions(builder), to)(Placed(var, kind))
            out = builder.emit_output(made)
        builder.emit_func_output(out)
    machine = relax.VirtualMachine(tvm.compile(builder.get(), target="llvm"), tvm.cpu())
    return np.asarray(machine["main"](tvm.runtime.tensor(x)).numpy())


def of_graph(kind: Kind, x: np.ndarray) -> np.ndarray:
    """The graph's own tensor, by NumPy."""
    if kind in ("nhwc", "flat_chw", "row"):
        x = x.transpose(0, 3, 1, 2)
    return x.reshape(GRAPH[kind][1])


@pytest.mark.parametrize("kind", GRAPH)
def test_the_graphs_own_tensor(kind: Kind) -> None:
    x = np.random.default_rng(0).standard_normal(GRAPH[kind][0]).astype(np.float32)
    np.testing.assert_array_equal(converted(kind, "plain", x), of_graph(kind, x))
    assert graph_shape(Placed(tensor("x", *GRAPH[kind][0]), kind)) == GRAPH[kind][1]


@pytest.mark.parametrize(
    ("to", "shape", "wanted"),
    [
        ("nhwc", (2, 5, 3, 4), lambda x: x.transpose(0, 2, 3, 1)),
        ("row", (2, 5, 4), lambda x: x.transpose(0, 2, 1)[:, None]),
        ("dense", (2, 5), lambda x: x[:, None, None]),
    ],
)
def test_from_the_graphs_own(to: str, shape: tuple[int, ...], wanted) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(converted("plain", to, x), wanted(x))


@pytest.mark.parametrize(("kind", "to"), [("nhwc", "nhwc"), ("row", "row"), ("dense", "dense")])
def test_what_lies_so_is_not_touched(kind: Kind, to: str) -> None:
    var = tensor("x", *GRAPH[kind][0])
    assert getattr(Conversions(relax.BlockBuilder()), to)(Placed(var, kind)) is var


@pytest.mark.parametrize("kind", ["nhwc", "row", "dense", "flat_chw", "flat_hwc"])
def test_each_is_made_once(kind: Kind) -> None:
    builder = relax.BlockBuilder()
    var = tensor("x", *GRAPH[kind][0])
    with builder.function("main", [var]):
        with builder.dataflow():
            to = Conversions(builder)
            first, second = (to.plain(Placed(var, kind)) for _ in range(2))
            assert first is second
            assert to.dense(Placed(first)) is to.dense(Placed(second)) if kind == "dense" else True
            out = builder.emit_output(first)
        builder.emit_func_output(out)
