"""How values are read from another layout, judged by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax, tirx

from abc_tvm.relay_passes.analysis.layout import (
    TO_NCHW,
    TO_NHWC,
    Placed,
    flattened,
    graph_rank,
    is_flatten,
    narrowed,
    place_constant,
    same_shape,
    widened,
)

B, C, H, W = 2, 3, 4, 5
F = C * H * W


def tensor(*shape: int) -> relax.Var:
    return relax.Var("x", relax.TensorType(list(shape), "float32"))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (W,), (H, 1), (C, 1, 1), (B, C, H, W)])
def test_constants_in_nhwc(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Broadcast and moved is moved and broadcast."""
    array, x = rng.normal(size=shape), rng.normal(size=(B, C, H, W))
    found = x.transpose(TO_NHWC) + place_constant(array, "nhwc", ())
    np.testing.assert_array_equal(found.transpose(TO_NCHW), x + array)


@pytest.mark.parametrize("shape", [(1,), (F,), (1, F), (B, F)])
@pytest.mark.parametrize("kind", ["dense", "flat_chw", "flat_hwc"])
def test_constants_of_features(shape: tuple[int, ...], kind, rng: np.random.Generator) -> None:
    array, image = rng.normal(size=shape), rng.normal(size=(B, H, W, C))
    if kind == "dense":
        there = image.reshape(B, 1, 1, F)
        graph = there.reshape(B, F)
    else:
        there = image
        graph = (image.transpose(TO_NCHW) if kind == "flat_chw" else image).reshape(B, F)
    found = there + place_constant(array, kind, there.shape)
    if kind == "flat_chw":
        found = found.transpose(TO_NCHW)
    np.testing.assert_array_equal(found.reshape(B, F), graph + array)


def test_flattening() -> None:
    assert flattened(Placed(tensor(B, H, W, C), "nhwc")).kind == "flat_chw"
    assert flattened(Placed(tensor(B, 1, 1, C), "nhwc")).kind == "dense"
    assert flattened(Placed(tensor(B, H, W, C), native=True)).kind == "flat_hwc"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((B, C, H, W), (B, F), True),
        ((B, C, H, W), (B * C, H * W), False),
        ((B, C, H), (B, C * H), False),
        ((B, C, H, W), (B, F, 1), False),
    ],
)
def test_what_a_flattening_is(old, new, expected: bool) -> None:
    assert is_flatten(old, new) is expected


def test_an_open_batch() -> None:
    n, m = tirx.Var("N", "int64"), tirx.Var("M", "int64")
    assert is_flatten((n, C, H, W), (n, F))
    assert not is_flatten((B, n, H, W), (B, F)) and not is_flatten((B, C, H, W), (B, n))
    assert same_shape((n, C), (tirx.Var("N", "int64"), C)), "by name"
    assert not same_shape((n, C), (m, C)) and not same_shape((n, C), (n, C, 1))


def test_rank_in_the_graph() -> None:
    image = tensor(B, H, W, C)
    ranks = {"plain": 4, "nhwc": 4, "dense": 2, "flat_chw": 2, "flat_hwc": 2}
    assert {kind: graph_rank(Placed(image, kind)) for kind in ranks} == ranks  # type: ignore[arg-type]
    assert widened(np.zeros((3, 1)), 4).shape == (1, 1, 3, 1)


def _expanded(*shape: int) -> np.ndarray:
    return np.ascontiguousarray(
        np.broadcast_to(np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1), shape)
    )


@pytest.mark.parametrize(
    ("array", "shapes", "wanted"),
    [
        (_expanded(1, 3, 4, 5), [(1, 3, 4, 5)], (1, 3, 1, 1)),
        (_expanded(2, 3, 4, 5), [(2, 3, 4, 5)], (1, 3, 1, 1)),
        (_expanded(1, 3, 4, 5), [(1, 3, 4, 1)], (1, 3, 1, 5)),
        (_expanded(1, 3, 4, 5)[0], [(7, 3, 4, 5)], (3, 1, 1)),
        (np.ones((1, 3, 1, 1), np.float32), [(1, 3, 4, 5)], (1, 3, 1, 1)),
        (np.ones((3, 4), np.float32), [(3, 4)], (1, 1)),
        (np.float32([[0.0, -0.0], [0.0, -0.0]]), [(2, 2)], (1, 2)),
        (np.arange(12, dtype=np.float32).reshape(3, 4), [(3, 4)], (3, 4)),
    ],
    ids=["image", "batch", "it broadcasts", "rank", "channels", "one", "zeros", "none"],
)
def test_what_broadcasting_repeats_goes(
    array: np.ndarray, shapes: list[tuple[int, ...]], wanted: tuple[int, ...]
) -> None:
    short = narrowed(array, shapes)
    assert short.shape == wanted
    assert np.broadcast_to(short, array.shape).tobytes() == array.tobytes()
