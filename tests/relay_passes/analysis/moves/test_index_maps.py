"""Which element stands where behind each operator that moves, against the operator itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.moves.index_maps import (
    BATCH,
    FILL,
    moved_indices,
    static_shape,
)
from abc_tvm.relay_passes.rewrite import const, definitions, hint
from tests.relay_passes.relax_graph import module, tensor

SHAPE = (2, 3, 4, 6)
Body = Callable[[Callable[..., relax.Var], relax.Var], relax.Expr]

MOVES: dict[str, Body] = {
    "permute_dims": lambda bind, x: relax.op.permute_dims(x, [0, 3, 1, 2]),
    "reshape": lambda bind, x: relax.op.reshape(x, (2, 12, 6)),
    "squeeze": lambda bind, x: relax.op.squeeze(
        bind(relax.op.strided_slice(x, [1], [1], [2])), [1]
    ),
    "expand_dims": lambda bind, x: relax.op.expand_dims(x, [1, 3]),
    "broadcast_to": lambda bind, x: relax.op.broadcast_to(
        bind(relax.op.strided_slice(x, [3], [2], [3])), SHAPE
    ),
    "take": lambda bind, x: relax.op.take(x, const(np.array([3, 0, 0, 2])), 2),
    "strided_slice": lambda bind, x: relax.op.strided_slice(x, [2, 3], [0, 1], [4, 6], [2, 3]),
    "strided_slice, backwards": lambda bind, x: relax.op.strided_slice(x, [3], [5], [-7], [-2]),
    "flip": lambda bind, x: relax.op.flip(x, 2),
    "tile": lambda bind, x: relax.op.tile(x, (1, 2, 1, 3)),
    "repeat": lambda bind, x: relax.op.repeat(x, 2, 1),
    "resize": lambda bind, x: relax.op.image.resize2d(
        x, (8, 9), layout="NCHW", method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric", rounding_method="floor",
    ),
}  # fmt: skip


def last(body: Body, x: relax.Var) -> tuple[tvm.IRModule, relax.Var, dict[relax.Var, relax.Expr]]:
    mod = module([x], lambda bind: bind(body(bind, x), "end"))
    defined = definitions(mod["main"])
    return mod, next(v for v in defined if hint(v) == "end"), dict(defined)


def ran(mod: tvm.IRModule, x: np.ndarray) -> np.ndarray:
    machine = relax.VirtualMachine(tvm.compile(mod, target="llvm"), tvm.cpu())
    return np.asarray(machine["main"](tvm.runtime.tensor(x)).numpy())


@pytest.mark.parametrize("name", MOVES)
def test_as_the_operator_does(name: str) -> None:
    mod, end, defined = last(MOVES[name], tensor("x", *SHAPE))
    functions = dict(mod.functions_items())
    index = np.arange(int(np.prod(static_shape(end)))).reshape(static_shape(end))
    var = end
    while var in defined:  # through what the case has in front of its operator
        moved = moved_indices(var, defined, functions, [])
        assert moved is not None
        ((var,), (step,)) = moved
        index = step.reshape(-1)[index]
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    np.testing.assert_array_equal(x.reshape(-1)[index], ran(mod, x))


def test_concat_and_split() -> None:
    def body(bind: Callable[..., relax.Var], x: relax.Var) -> relax.Expr:
        parts = bind(relax.op.split(x, [1, 4], 3), "parts")
        first, third = (bind(relax.TupleGetItem(parts, i), f"part{i}") for i in (0, 2))
        return relax.op.concat([third, first, third], 3)

    _, end, defined = last(body, tensor("x", *SHAPE))
    moved = moved_indices(end, defined, {}, [])
    assert moved is not None
    sources, indices = moved
    whole = np.full(static_shape(end), FILL)
    numbers = np.arange(int(np.prod(SHAPE))).reshape(SHAPE)
    for source, index in zip(sources, indices, strict=True):
        part = moved_indices(source, defined, {}, [])
        assert part is not None
        there = index != FILL
        whole[there] = part[1][0].reshape(-1)[index[there]]
    wanted = np.concatenate([numbers[..., 4:], numbers[..., :1], numbers[..., 4:]], 3)
    np.testing.assert_array_equal(whole, wanted)


def test_what_is_padded_is_said() -> None:
    fills: list[float] = []
    _, end, defined = last(
        lambda bind, x: relax.op.nn.pad(x, [0, 0, 1, 0, 0, 2, 0, 0], "constant", -1.5),
        tensor("x", *SHAPE),
    )
    moved = moved_indices(end, defined, {}, fills)
    assert moved is not None and fills == [-1.5]
    wanted = np.pad(np.arange(144).reshape(SHAPE), ((0, 0), (1, 0), (0, 2), (0, 0)),
                    constant_values=FILL)  # fmt: skip
    np.testing.assert_array_equal(moved[1][0], wanted)


def test_an_open_batch_is_a_few_images() -> None:
    batch = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType([batch, 3, 4], "float32"))
    _, end, defined = last(lambda bind, v: relax.op.reshape(v, (batch * 3, 4)), x)
    assert static_shape(end) == (BATCH * 3, 4)
    moved = moved_indices(end, defined, {}, [])
    assert moved is not None and moved[1][0].shape == (BATCH * 3, 4)


@pytest.mark.parametrize("shape", [(4, 3, 4), (1, 12), (1, 3, 4)])
def test_what_fits_one_batch_alone_moves_nothing(shape: tuple[int, ...]) -> None:
    batch = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType([batch, 3, 4], "float32"))
    _, end, defined = last(lambda bind, v: relax.op.reshape(v, shape), x)
    assert moved_indices(end, defined, {}, []) is None


COMPUTES: dict[str, Body] = {
    "sum": lambda bind, x: relax.op.sum(x, [1]),
    "linear": lambda bind, x: relax.op.image.resize2d(x, (8, 12), layout="NCHW", method="linear"),
    "add": lambda bind, x: relax.op.add(x, x),
    "indices from the end": lambda bind, x: relax.op.take(x, const(np.array([-1, 1])), 3),
    "computed indices": lambda bind, x: relax.op.take(
        x, bind(relax.op.astype(bind(relax.op.argmax(x, 1)), "int64")), 0
    ),
}


@pytest.mark.parametrize("name", COMPUTES)
def test_what_computes_is_none(name: str) -> None:
    mod, end, defined = last(COMPUTES[name], tensor("x", *SHAPE))
    assert moved_indices(end, defined, dict(mod.functions_items()), []) is None


def test_integers_are_not_followed() -> None:
    x = tensor("x", 2, 3, dtype="int32")
    _, end, defined = last(lambda bind, v: relax.op.permute_dims(v, [1, 0]), x)
    assert moved_indices(end, defined, {}, []) is None
