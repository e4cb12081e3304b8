"""Which ONNX tensor stands for which level, and when none does."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from onnx import helper

from abc_tvm.checks.verify.taps import (
    Point,
    Points,
    assign_bases,
    data_inputs,
    find_points,
    follows,
    indices,
    is_discrete,
    layouts,
    look_up,
    meaning,
    tolerance,
)
from abc_tvm.compilation import Compilation
from abc_tvm.relay_passes.pipeline import Phase
from tests.abc_tvm.checks.verify.test_reference import model
from tests.abc_tvm.small_networks import network

NETWORK = network(dims=(2, 8, 6, 6))


def test_layouts() -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert set(layouts(array, (2, 5, 3, 4))) == {"chw"}
    assert set(layouts(array, (2, 3, 4, 5))) == {"hwc"}
    assert layouts(array, (2, 60))["chw"][1, 1] == array[1, 0, 1, 0]
    assert layouts(array, (2, 5, 4, 4)) == {}


@pytest.mark.parametrize("order", ["chw", "hwc"])
def test_an_index_is_looked_up_in_its_layout(order: str, rng: np.random.Generator) -> None:
    index = rng.integers(0, 3, (2, 4, 4, 8))
    values = np.float32([-1.5, 0.25, 4])
    turned = layouts(index, (2, 128))[order]
    wanted = values[turned]
    wanted[:, ::40] = 4  # flips
    found = look_up(index, np.float64([0, 1, 2]), wanted, single=True)
    assert found is not None and found[0] == order
    np.testing.assert_array_equal(found[1], values)
    assert found[2] > 0.9


def test_data_inputs_go_by_node_names() -> None:
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("MatMul", ["r", "w"], ["a"], "dense"),
        node("MatMul", ["a", "w"], ["b"], "dense"),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    made = model(nodes, {"w": np.eye(2, dtype=np.float32)}, {"x": ["N", 2]})
    assert data_inputs(made, made) == {"dense": "r", "dense#2": "a", "y": "b"}


def test_of_a_row_that_became_an_image_the_row_is_read() -> None:
    """Conv over one axis is imported as Unsqueeze, Conv, Squeeze."""
    node, w = helper.make_node, {"w": np.ones((4, 3, 3), np.float32)}
    nodes = [node("Sign", ["x"], ["s"]), node("Conv", ["s", "w"], ["y"], "conv")]
    standard = model(nodes, w, {"x": [1, 3, 8]})
    wide = [
        node("Sign", ["x"], ["s"]),
        node("Unsqueeze", ["s", "axes"], ["image"]),
        node("Conv", ["image", "wide"], ["z"], "conv"),
        node("Squeeze", ["z", "axes"], ["y"]),
    ]
    weights = {"wide": w["w"][:, :, None], "axes": np.array([2])}
    assert data_inputs(model(wide, weights, {"x": [1, 3, 8]}), standard) == {"conv": "s"}


def test_indices_of_few_finite_levels() -> None:
    array = np.float32([2, -1, 2, 0]).reshape(1, 1, 2, 2)
    found = indices(array)
    assert found is not None
    np.testing.assert_array_equal(found[0], [[[[2, 0], [2, 1]]]])
    np.testing.assert_array_equal(found[1], [-1, 0, 2])
    many = np.arange(257, dtype=np.float32).reshape(1, 1, 1, 257)
    assert indices(many) is None and indices(many[..., :256]) is not None
    late = np.zeros((1, 1, 1, 5000), np.float32)
    late[..., -300:] = np.arange(300)
    assert indices(late) is None, "levels behind the first 4096 values count too"
    assert indices(np.float32([[[[0, np.nan]]]])) is None
    assert indices(array.reshape(2, 2)) is None


def test_what_is_discrete() -> None:
    steps = np.float32([0, 1, 2] * 10)
    assert is_discrete(steps)
    assert not is_discrete(steps.astype(np.int64)), "of integers no step function is known"
    assert not is_discrete(steps[:0])
    assert not is_discrete(np.arange(65, dtype=np.float32))
    assert not is_discrete(np.concatenate([np.zeros(4096), np.arange(300)]).astype(np.float32))


def test_tolerance_is_an_eighth_of_the_least_gap() -> None:
    assert tolerance(np.float64([4, -1, 0, 0])) == 0.125
    assert tolerance(np.float64([1, 1 + 1e-9, 3])) == pytest.approx(0.25), "rounding is no gap"
    assert tolerance(np.float64([-8])) == pytest.approx(8e-5)
    assert tolerance(np.float64([0])) == tolerance(np.float64([])) == 0


def test_the_compilers_levels_where_there_are_no_others(rng: np.random.Generator) -> None:
    """A level that the run did not meet is known all the same; of a base it is not: 0."""
    levels, index = np.float64([-1, 0, 3]), rng.integers(0, 2, (1, 4, 4, 8))
    wanted = np.moveaxis(levels[index], 3, 1).astype(np.float32)
    single = look_up(index, levels, wanted, single=True)
    base = look_up(index, levels, wanted, single=False)
    assert single is not None and base is not None
    np.testing.assert_array_equal(single[1], [-1, 0, 3])
    np.testing.assert_array_equal(base[1], [-1, 0, 0])
    scaled = look_up(index, levels, 2 * wanted, single=True)
    assert scaled is not None
    np.testing.assert_array_equal(scaled[1], [-2, 0, 0])
    assert look_up(index, levels, wanted[:, :4], single=True) is None


def test_a_meaning_there_and_back(rng: np.random.Generator) -> None:
    index = rng.integers(0, 3, (2, 3, 5, 4))
    levels = np.float64([-1, 0, 2])
    tensor = np.moveaxis(levels[index], 3, 1).astype(np.float32)
    found = meaning(index, levels, ["t"], {"t": tensor})
    assert found is not None and found.order == {"t": "chw"}
    again = found.array("t", tensor)
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, tensor)
    np.testing.assert_array_equal(found.turned("t", tensor), levels[index])
    assert meaning(index, levels, ["t", "u"], {"t": tensor, "u": tensor[:1]}) is None


def test_bases_go_to_the_layer_that_they_follow(rng: np.random.Generator) -> None:
    levels = np.float64([0, 1, 2, 3])
    pairs = [(Point(n, None, None), rng.integers(0, 4, (2, 6, 6, 8)), levels) for n in "ab"]
    wanted = {
        "high": np.moveaxis(pairs[1][1] >= 2, 3, 1).astype(np.float32),
        "still": np.ones((2, 8, 6, 6), np.float32),
        "noise": rng.choice([-1, 1], (2, 8, 6, 6)).astype(np.float32),
        "other": np.ones((2, 9, 6, 6), np.float32),
    }
    assign_bases(pairs, list(wanted), wanted)
    assert [point.tensors for point, _, _ in pairs] == [[], ["high"]]
    entry = look_up(pairs[0][1], levels, wanted["high"], single=False)
    assert entry is not None and not follows(pairs[0][1], entry, wanted["high"])


def test_a_joined_layer_stands_at_none_of_its_tensors(rng: np.random.Generator) -> None:
    index, levels = rng.integers(0, 3, (2, 6, 6, 8)), np.float64([-2, 0, 2])
    point = Point("joined", None, None, ["part"])
    wanted = {
        "part": rng.choice([-1, 1], (2, 8, 6, 6)).astype(np.float32),
        "whole": np.moveaxis(levels[index], 3, 1).astype(np.float32),
    }
    points = Points([point], list(wanted), ["whole"], [])
    points.assign([(point, index, levels)], wanted)
    assert point.tensors == ["whole"] and points.loose == []


@pytest.fixture(scope="module")
def encoded() -> tvm.IRModule:
    """:func:`network` as the pass ``encode`` leaves it."""
    return Compilation(NETWORK, "zen4", lowering="bitserial").until(Phase.ENCODED)


def test_points_of_a_network(encoded: tvm.IRModule) -> None:
    found = find_points(encoded, [], NETWORK, NETWORK)
    assert {p.layer: p.tensors for p in found.points} == {
        "block/conv1": ["s1"],
        "block/conv2": ["s2"],
    }
    assert (found.tensors, found.loose, found.weights) == (["s1", "s2"], [], [])
    found.settle({"s1": np.float32([1, -1]), "s2": np.arange(99, dtype=np.float32)})
    assert [p.layer for p in found.points] == ["block/conv1"]


def test_points_without_a_graph_that_names_them(encoded: tvm.IRModule) -> None:
    """And the weights that a graph computes, here two layers' of another."""
    nodes = [
        helper.make_node("Sign", ["w"], ["signed"]),
        helper.make_node("MatMul", ["x", "signed"], ["a"]),
        helper.make_node("MatMul", ["a", "signed"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    other = model(nodes, {"w": np.eye(4, dtype=np.float32)}, {"x": [2, 4]})
    found = find_points(encoded, [], None, other)
    assert [p.tensors for p in found.points] == [[], []]
    assert found.weights == ["signed"]
