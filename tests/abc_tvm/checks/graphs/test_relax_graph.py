"""The compiled module as the checker reads it: layers, shapes, constants, values."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import (
    ON_BITSERIAL,
    ON_INT8,
    RelaxGraph,
    array,
    dimensions,
    operator,
)
from tests.abc_tvm.checks.opinion.networks import judged
from tests.relay_passes.harness import two_layers

op = relax.op
n = tvm.tirx.Var("n", "int64")


def module() -> tvm.IRModule:
    x = relax.Var("x", relax.TensorType((n, 4), "float32"))
    y = relax.Var("y", relax.TensorType((n, 4), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, y]):
        with builder.dataflow():
            a = builder.emit(op.abs(x))
            parts = builder.emit(op.split(a, 2, axis=1))
            first = builder.emit(relax.TupleGetItem(parts, 0))
            b = builder.emit(op.cumsum(y, 1))
            both = builder.emit(op.concat([first, b], 1))
            out = builder.emit_output(both)
        builder.emit_func_output(out)
    return builder.get()


X = np.float32([[1, -2, 3, -4]])


def test_what_lies_on_the_way() -> None:
    graph = RelaxGraph(module())
    x, y = graph.params
    (a, parts, first, b, both, out) = (var for var, _ in graph.order)
    assert graph.needed([first], [x]) == [0, 1, 2]
    assert graph.needed([both], [a, b]) == [1, 2, 4]
    assert graph.reads(graph.value[both]) == [first, b]
    assert graph.reads(graph.value[first]) == [parts]
    assert dimensions(x) == (None, 4)
    assert graph.layers == []
    assert graph.value[out].same_as(both) and y in graph.params


def test_values() -> None:
    graph = RelaxGraph(module())
    x, y = graph.params
    (_, _, first, b, both, out) = (var for var, _ in graph.order)
    assert graph.evaluate([first], {x: X})[first].tolist() == [[1, 2]]
    found = graph.evaluate([out], {x: X, b: X})
    assert found[both].tolist() == [[1, 2, *X[0].tolist()]]
    with pytest.raises(NotChecked, match="operator cumsum"):
        graph.evaluate([both], {x: X, y: X})
    with pytest.raises(NotChecked, match="it depends on x, which is not known"):
        graph.evaluate([first], {})
    lenient = graph.evaluate([both, first], {x: X, y: X}, lenient=True)
    assert first in lenient and both not in lenient


@pytest.mark.parametrize(("lowering", "kind"), [("bitserial", ON_BITSERIAL), ("int8", ON_INT8)])
def test_layers_of_an_encoded_module(lowering: str, kind: str) -> None:
    graph = RelaxGraph(judged(two_layers(), lowering)[2])
    assert [layer.kind for layer in graph.layers] == [kind, kind]
    names = {str(var.name) for var, _ in graph.order}
    for layer in graph.layers:
        assert layer.name in names and operator(layer.call) == kind
        assert operator(graph.value[layer.data]).startswith("abc.encode_")
        assert array(layer.call.args[1]).dtype == np.int8
    with pytest.raises(NotChecked, match="a constant is computed"):
        array(graph.layers[0].call.args[0])


def test_what_is_no_operator() -> None:
    graph = RelaxGraph(module())
    assert operator(None) == operator(graph.params[0]) == ""
    assert operator(graph.value[graph.order[0][0]]) == "abs"
