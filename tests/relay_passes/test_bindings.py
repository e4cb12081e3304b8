"""What is read of bindings, and how they are made: names, constants, keys, readers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.errors import UnsupportedError
from abc_tvm.relay_passes.rewrite import (
    array_of,
    bindings,
    const,
    constant,
    content,
    definitions,
    drop_dead,
    dtype_of,
    emit,
    hint,
    op_name,
    operands,
    rebuild,
    shape_of,
    substitute,
    uses,
)
from tests.relay_passes.relax_graph import image, module, tensor

Bind = Callable[..., relax.Var]


def two(x: relax.Var) -> tvm.IRModule:
    """``b = exp(a); a = relu(x)``, and ``add(b, a)``."""

    def body(bind: Bind) -> relax.Expr:
        a = bind(relax.op.nn.relu(x), "a")
        return bind(relax.op.add(bind(relax.op.exp(a), "b"), a), "c")

    return module([x], body)


def test_bindings_in_order_with_their_operators() -> None:
    main = two(image("x", 4))["main"]
    assert [(hint(v), op_name(e)) for v, e in bindings(main)][:3] == [
        ("a", "nn.relu"),
        ("b", "exp"),
        ("c", "add"),
    ]
    assert definitions(main) == dict(bindings(main))


def test_shapes_that_a_run_decides_are_refused() -> None:
    x = image("x", 4)
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        y = builder.match_cast(x, relax.TensorType([1, 5, 5, 4], "float32"), "cast")
        builder.emit_func_output(y)
    with pytest.raises(
        UnsupportedError, match="the shape of cast is decided by the numbers of a run"
    ):
        bindings(builder.get()["main"])


def test_operators_alone_have_names() -> None:
    x = image("x", 4)
    assert op_name(relax.op.nn.relu(x)) == "nn.relu"
    assert op_name(relax.Call(relax.GlobalVar("f"), [x])) is None
    assert op_name(x) is None and op_name(None) is None


@pytest.mark.parametrize(
    "array",
    [
        np.float32(2),
        np.int64([1, 2]),
        np.zeros((0, 3), np.float32),
        np.arange(6, dtype=np.int8).reshape(2, 3).T,
        np.array([True, False]),
        np.float64([[0.1]]),
    ],
)
def test_constants_keep_shape_type_and_bytes(array: np.ndarray) -> None:
    back = array_of(const(np.asarray(array)))
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_what_is_no_constant() -> None:
    assert constant(image("x", 4)) is None and constant(None) is None
    with pytest.raises(TypeError, match="not a constant"):
        array_of(image("x", 4))


def test_shape_and_type_of_a_tensor() -> None:
    x = tensor("x", 2, 3, dtype="int8")
    assert shape_of(x) == (2, 3) and dtype_of(x) == "int8"
    unknown = relax.Var("y", relax.TensorType(dtype="float32", ndim=2))
    with pytest.raises(UnsupportedError, match=r"the shape of y is not known .* fix the batch"):
        shape_of(unknown)


def test_keys_are_equal_exactly_where_everything_is() -> None:
    x, y = image("x", 4), image("x", 4)
    one, other = np.float32([1, 2]), np.float32([1, 3])
    assert content("f", x, one) == content("f", x, const(one))
    for different in (
        content("g", x, one),
        content("f", y, one),
        content("f", x, other),
        content("f", x, one.astype(np.float64)),
        content("f", x, one[None]),
        content("f", x, np.float32([1, np.nan])),
    ):
        assert content("f", x, one) != different
    assert content({"a": 1, "b": [one]}) == content({"b": [one], "a": 1})
    assert content({"a": 1}) != content({"a": 2})
    assert content(np.float32([0.0])) != content(np.float32([-0.0]))


def test_readers_of_every_variable() -> None:
    x = image("x", 4)
    main = two(x)["main"]
    readers = uses(main)
    by_name = {
        hint(v): [None if r is None else hint(r) for r, _ in found] for v, found in readers.items()
    }
    assert by_name["x"] == ["a"] and by_name["a"] == ["b", "c"]
    last = list(bindings(main))[-1][0]
    assert [reader for reader, _ in readers[last]] == [None], "the result is read by nobody"


def test_operands_and_their_replacements() -> None:
    x, y, z = (image(name, 4) for name in "xyz")
    expressions = [
        relax.op.add(x, x),
        relax.Tuple([x, relax.op.exp(x)]),
        relax.TupleGetItem(relax.Tuple([y, x]), 1),
        x,
        const(np.float32(1)),
    ]
    assert [[hint(v) for v in operands(e)] for e in expressions] == [
        ["x", "x"],
        ["x", "x"],
        ["y", "x"],
        ["x"],
        [],
    ]
    replaced = [[hint(v) for v in operands(substitute(e, {x: z}))] for e in expressions]
    assert replaced == [["z", "z"], ["z", "z"], ["y", "z"], ["z"], []]


def test_layers_keep_their_names_when_others_come() -> None:
    """What a pass emits takes another name where a binding of the graph has it."""

    def visit(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr | None:
        if op_name(value) != "exp":
            return None
        return relax.op.negative(builder.emit(relax.op.nn.relu(value.args[0]), "c"))

    after = rebuild(two(image("x", 4)), visit)["main"]
    found = [(hint(v), op_name(e)) for v, e in bindings(after)]
    assert found[:4] == [("a", "nn.relu"), ("c1", "nn.relu"), ("b", "negative"), ("c", "add")]


def test_variables_and_constants_are_not_bound_again() -> None:
    x = image("x", 4)
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        one = const(np.float32(1))
        assert emit(builder, x) is x and emit(builder, one, "one") is one
        bound = emit(builder, relax.op.exp(x), "bound")
        assert isinstance(bound, relax.Var) and hint(bound) == "bound"
        builder.emit_func_output(bound)


def test_dead_bindings_are_dropped() -> None:
    x = image("x", 4)

    def body(bind: Bind) -> relax.Expr:
        bind(relax.op.exp(x), "dead")
        return bind(relax.op.nn.relu(x), "alive")

    assert "dead" not in [hint(v) for v, _ in bindings(drop_dead(module([x], body))["main"])]
