"""What stands where behind a move of codes, and roots that are views of other tensors."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import RelaxGraph
from abc_tvm.checks.opinion.moved import MovedPart, behind, copies_of, moved_parts
from abc_tvm.relay_passes.analysis.moves.index_maps import FILL
from abc_tvm.relay_passes.analysis.moves.move import Move, as_move, copied
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const, definitions, hint
from tests.relay_passes.relax_graph import module, tensor

H, W = 3, 4


def two() -> tuple[np.ndarray, Move]:
    """Channels of two images, mixed, and a hole."""
    a = np.arange(H * W * 3).reshape(H, W, 3)
    b = np.arange(H * W * 2).reshape(H, W, 2) + H * W * 3
    index = np.concatenate([a, b], 2)[..., [3, 0, 4, 1, 2]]
    index = np.pad(index, ((1, 0), (0, 0), (0, 0)), constant_values=FILL)
    move = as_move(index, [(H, W, 3), (H, W, 2)])
    assert move is not None
    return index, move


def call_of(move: Move, *channels: int) -> relax.Call:
    images = [tensor(f"x{k}", 2, H, W, c) for k, c in enumerate(channels)]
    return make("move", [*images, *map(const, move.tables)], fill=0.0)


def test_of_each_source_its_own() -> None:
    index, move = two()
    call = call_of(move, 3, 2)
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((2, H, W, c)) for c in (3, 2)]
    flat = np.concatenate([d.reshape(2, -1) for d in data], 1)
    wanted = np.where(index == FILL, 7.0, flat[:, np.maximum(index, 0)])
    owner = np.where(index == FILL, -1, (index >= H * W * 3).astype(int))
    for k, array in enumerate(data):
        part = MovedPart(call, k)
        found = part.place(array, np.full(5, 7.0))
        mine = np.broadcast_to((owner == k) | (owner == -1), found.shape)
        np.testing.assert_array_equal(found[mine], wanted[mine])
        assert np.isnan(found[~mine]).all() and part.filled()


def test_a_move_behind_a_move() -> None:
    """Two images are put together, and then shuffled: each is followed through both."""
    a, b = np.arange(H * W * 3).reshape(H, W, 3), np.arange(H * W * 2).reshape(H, W, 2)
    side = as_move(np.concatenate([a, b + H * W * 3], 2), [(H, W, 3), (H, W, 2)])
    order = np.random.default_rng(0).permutation(H * W * 5).reshape(H, W, 5)
    then = as_move(order, [(H, W, 5)])
    assert side is not None and then is not None
    facts = {"code": "thermometer", "planes": 1, "layout_groups": 1, "fill": [0]}
    bits = [relax.Var(f"b{k}", relax.TensorType((2, H, W, 1, 1, 1), "uint32")) for k in range(2)]

    def body(bind):
        first = bind(make("move_bitserial", [*bits, *map(const, side.tables)], **facts), "first")
        return bind(make("move_bitserial", [first, *map(const, then.tables)], **facts), "then")

    mod = module(bits, body)
    graph = RelaxGraph(mod)
    end = next(v for v in definitions(mod["main"]) if hint(v) == "then")
    parts = moved_parts(graph, graph.value[end])
    assert [hint(leaf) for leaf, _ in parts] == ["b0", "b1"]
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((2, H, W, c)) for c in (3, 2)]
    whole = np.concatenate(data, 3).reshape(2, -1)[:, order]
    found = [part.place(x, np.zeros(5)) for (_, part), x in zip(parts, data, strict=True)]
    assert all((np.isnan(found[k]) ^ np.isnan(found[1 - k])).all() for k in range(2))
    np.testing.assert_array_equal(np.where(np.isnan(found[0]), found[1], found[0]), whole)


@pytest.mark.parametrize("axis", range(3))
def test_reading_behind_the_end_is_an_error(axis: int) -> None:
    _, move = two()
    part = MovedPart(call_of(move, 3, 2), 0)
    shape = [2, H, W, 3]
    shape[axis + 1] -= 1
    with pytest.raises(IndexError, match="behind the"):
        part.place(np.zeros(shape), np.zeros(5))


def graph_of(expr: relax.Expr, x: relax.Var) -> tuple[RelaxGraph, relax.Var]:
    mod = module([x], lambda bind: bind(expr, "end"))
    end = next(v for v in definitions(mod["main"]) if hint(v) == "end")
    return RelaxGraph(mod), end


def test_copies_of_a_root() -> None:
    x = tensor("x", 2, H, W, 3)
    graph, end = graph_of(make("move", [x, *map(const, copied((H, W, 3), 4))], fill=0.0), x)
    root, count = copies_of(graph, end)
    assert hint(root) == "x" and count == 4
    assert copies_of(graph, root) == (root, 1)


def test_another_move_of_floats_is_not_known() -> None:
    x = tensor("x", 2, H, W, 3)
    index = np.arange(H * W * 3).reshape(H, W, 3)[..., [1, 0, 2]]
    move = as_move(index, [(H, W, 3)])
    assert move is not None
    graph, end = graph_of(make("move", [x, *map(const, move.tables)], fill=0.0), x)
    with pytest.raises(NotChecked, match="moved in another way"):
        copies_of(graph, end)


@pytest.mark.parametrize(
    ("expr", "numpy"),
    [
        (lambda x: relax.op.reshape(x, (2, 1, 12, 5)), lambda x: x.reshape(-1, 1, 12, 5)),
        (lambda x: relax.op.permute_dims(x, [0, 3, 1, 2]), lambda x: x.transpose(0, 3, 1, 2)),
    ],
    ids=["reshape", "permute_dims"],
)
def test_views_there_and_back(expr, numpy) -> None:
    x = tensor("x", 2, H, W, 5)
    graph, end = graph_of(expr(x), x)
    (_, _, _), (source, there, back) = behind(graph, end)
    assert hint(source) == "x"
    array = np.random.default_rng(0).standard_normal((6, H, W, 5))
    np.testing.assert_array_equal(back(array), numpy(array))
    np.testing.assert_array_equal(there(numpy(array)), array)


def test_a_moved_batch_is_no_view() -> None:
    x = tensor("x", 2, H, W, 5)
    graph, end = graph_of(relax.op.permute_dims(x, [1, 0, 2, 3]), x)
    assert len(behind(graph, end)) == 1
